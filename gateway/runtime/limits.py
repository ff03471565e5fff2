"""The limit of open files: raised to what the system allows, and how much of it clients may use."""

import resource

RESERVE = 256
"""Descriptors kept free of client connections: connections to upstreams, logs, DNS."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one; the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # hard may be "unlimited" where the system has a lower ceiling
            pass
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def highest_client_descriptor() -> int:
    """Accepting pauses while descriptors beyond this are in use (the system gives out the lowest that is free)."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return 1 << 30
    return limit - 1 - min(RESERVE, limit // 4)
