"""Metrics, access log and the gateway's own log."""
