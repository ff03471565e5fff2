"""Where deciding meets the world: one request from its head to its log line."""
