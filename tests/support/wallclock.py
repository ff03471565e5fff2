"""A time of day that a test can set for a gateway, without touching the machine's."""

import mmap
import struct
import subprocess
from pathlib import Path


class WallClock:
    """Start the gateway with its `env`. The monotonic clock goes on as it does when an operator sets the time."""

    def __init__(self, directory: Path) -> None:
        library, ahead = directory / "clock.so", directory / "ahead"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-O", "-shared", "-fPIC", "-nostdlib", "-o", library, source], check=True)
        ahead.write_bytes(bytes(8))
        with ahead.open("r+b") as file:
            self._ahead = mmap.mmap(file.fileno(), 8)
        self.env = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(ahead)}

    def set(self, ahead_s: int) -> None:
        """So much ahead of the machine's clock; negative: behind."""
        self._ahead[:] = struct.pack("l", ahead_s)
