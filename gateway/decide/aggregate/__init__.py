"""Many answers made one: what waits for what, and how the parts become a whole. Pure."""
