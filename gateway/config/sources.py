"""Which files a config was read from, and how they were: so that a change of one can be seen."""

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """Files with their stamps, and patterns of `include` with what matched; equal while nothing changed.

    A stamp follows symbolic links, and is another after a write, a rename over the file, a change of its mode, or when
    a link on the way to it leads elsewhere (as in the volumes of Kubernetes).
    """

    files: Mapping[str, Stamp] = field(default_factory=dict)
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, files: list[str], patterns: list[str]) -> Self:
        """As they are now."""
        return cls({each: stamp(each) for each in files}, {each: matching(each) for each in patterns})

    def look(self) -> "Sources":
        """The same files and patterns, as they are now. May block where a file system does."""
        return Sources.of(list(self.files), list(self.patterns))

    def over(self, before: "Sources") -> "Sources":
        """These and those of before, which are older."""
        return Sources({**before.files, **self.files}, {**before.patterns, **self.patterns})

    def changed(self, before: "Sources") -> list[str]:
        """What is another than before."""
        files = [each for each, found in self.files.items() if before.files.get(each) != found]
        return files + [each for each, found in self.patterns.items() if before.patterns.get(each) != found]

    def __bool__(self) -> bool:
        return bool(self.files)


def stamp(path: str) -> Stamp:
    """Empty where there is no file, or none that can be looked at."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def matching(pattern: str) -> tuple[str, ...]:
    """The files that match a pattern, in order."""
    return tuple(sorted(glob.glob(pattern)))
