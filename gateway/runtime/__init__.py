"""Assembling, the supervisor and its workers."""
