"""What keeps an upstream from more than it can do."""
