"""Targets at run time: who they are, how loaded they are, which one is next."""
