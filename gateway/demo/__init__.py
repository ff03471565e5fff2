"""The upstreams and the config of `gateway demo`."""
