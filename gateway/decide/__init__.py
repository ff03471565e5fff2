"""Decides, and never touches the world: no I/O, no clock, no random source of its own."""
