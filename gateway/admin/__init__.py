"""The admin address: health, status, metrics, config."""
