"""The files of a config as one tree: the main file with all that it includes."""

import glob
import hashlib
import os
import stat
from pathlib import Path

from gateway.config.lines import Map, Place, Seq, Source, Value
from gateway.config.parse import FatalProblem, parse
from gateway.config.problems import Problem
from gateway.config.scalars import Variables
from gateway.config.sources import Sources, Stamp, matching, stamp
from gateway.config.types import kind_of, reason

MAX_FILE_BYTES = 64 * 1024 * 1024
"""A config of 10 000 routes has about 1 MiB; this stops /dev/zero and a log that was taken for a config."""
MAX_FILES = 10_000
MAX_DEPTH = 10
"""Of includes within includes."""
_LISTS = ("routes", "tests")
_NAMED = ("upstreams", "executors", "queues")


class Files:
    """Reads the main file and its includes; collects what is wrong with them."""

    def __init__(self, variables: Variables) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._variables = variables
        self._digest = hashlib.sha256()
        self._read: dict[str, Place] = {}
        self._stamps: dict[str, Stamp] = {}
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._depth = 0

    @property
    def hash(self) -> str:
        """SHA-256 of the text of all files."""
        return self._digest.hexdigest()

    @property
    def sources(self) -> Sources:
        """All files that were to be read, as they were ahead of that."""
        return Sources(dict(self._stamps), dict(self._patterns))

    def read(self, path: Path) -> tuple[Map, Source]:
        """The merged tree; empty where the file could not be read (then there are problems)."""
        source = Source(str(path))
        root = self._tree(path, source, Place(source))
        return (root if root is not None else Map()), source

    def _tree(self, path: Path, source: Source, asked_at: Place) -> Map | None:
        main = asked_at.source is source
        self._stamps[str(path)] = stamp(str(path))
        try:
            data = _bytes(path)
        except _Unreadable as error:
            self._report(asked_at, "" if main else "include", str(error))
            return None
        self._digest.update(b"%d\n" % len(data) + data)
        self._read[os.path.realpath(path)] = asked_at
        try:
            source.text = _text(data, source)
            value = parse(source, self._variables, self.problems)
        except FatalProblem as error:
            self.problems.append(error.problem)
            return None
        return self._checked_root(value, source, main, path)

    def _checked_root(self, value: Value, source: Source, main: bool, path: Path) -> Map | None:
        if value is None:
            if main:
                self._report(Place(source, 1, 1), "", "the file is empty; a config needs routes")
            return Map()
        if not isinstance(value, Map):
            self._report(Place(source, 1, 1), "", f"a config is a mapping with routes:, ...; this is {kind_of(value)}")
            return None
        self._include(value, path.parent)
        return value

    def _include(self, root: Map, directory: Path) -> None:
        """Merge what `include:` names into `root`; the key itself stays for the model to check."""
        wanted = root.get("include")
        marks = wanted.marks if isinstance(wanted, Seq) else [root.marks["include"]] if wanted else []
        for pattern, mark in zip(wanted if isinstance(wanted, Seq) else [wanted], marks, strict=False):
            if isinstance(pattern, str) and pattern:
                for path in self._matching(pattern, directory, mark.value):
                    self._merge_file(root, path, mark.value)

    def _matching(self, pattern: str, directory: Path, place: Place) -> list[Path]:
        if not glob.has_magic(pattern):
            return [directory / pattern]
        found = self._patterns[str(directory / pattern)] = matching(str(directory / pattern))
        if not found:
            warning = Problem(place, "include", f"no file matches {directory / pattern}")
            self.warnings.append(warning)
        return [Path(path) for path in found]

    def _merge_file(self, root: Map, path: Path, place: Place) -> None:
        real = os.path.realpath(path)
        before = self._read.get(real)
        if before is not None:
            first = f"at {before}" if before.line else "as the main file"
            self._report(place, "include", f"{path} is read already ({first})", "include each file once")
            return
        if self._depth >= MAX_DEPTH or len(self._read) >= MAX_FILES:
            self._report(place, "include", f"more than {MAX_FILES} files, or deeper than {MAX_DEPTH}")
            return
        self._depth += 1
        child = self._tree(path, Source(str(path)), place)
        self._depth -= 1
        if child is not None:
            self._merge(root, child)

    def _merge(self, root: Map, child: Map) -> None:
        for key, value in child.items():
            if key == "include":
                continue
            mark = child.marks[key]
            own = root.get(key)
            if key not in root:
                root[key], root.marks[key] = value, mark
            elif key in _LISTS and isinstance(own, Seq) and isinstance(value, Seq):
                own.extend(value)
                own.marks.extend(value.marks)
            elif key in _NAMED and isinstance(own, Map) and isinstance(value, Map):
                self._merge_named(key, own, value)
            else:
                self._report(mark.key, key, f"is already set at {root.marks[key].key}", "keep one of the two")

    def _merge_named(self, key: str, own: Map, more: Map) -> None:
        for name, value in more.items():
            if name in own:
                fault = f"is already defined at {own.marks[name].key}"
                self._report(more.marks[name].key, f"{key}.{name}", fault, "rename one of the two")
            else:
                own[name], own.marks[name] = value, more.marks[name]

    def _report(self, place: Place, key: str, message: str, suggestion: str = "") -> None:
        self.problems.append(Problem(place, key, message, suggestion))


class _Unreadable(Exception):
    """A file that cannot be read at all."""


def _bytes(path: Path) -> bytes:
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            raise _Unreadable(f"{path} is a directory; name the file, such as {path}/gateway.yaml")
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _Unreadable(f"cannot read {path}: {reason(error)}") from None
    except ValueError:
        raise _Unreadable(f"{str(path)!r} is not the path of a file") from None
    if len(data) > MAX_FILE_BYTES:
        raise _Unreadable(f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MiB; is it a config?")
    return data


def _text(data: bytes, source: Source) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        source.text = data.decode("utf-8-sig", "replace")
        line = data.count(b"\n", 0, error.start) + 1
        start = data.rfind(b"\n", 0, error.start) + 1
        column = len(data[start : error.start].decode("utf-8", "replace")) + 1
        message = f"the file is not UTF-8: byte 0x{data[error.start]:02x}"
        raise FatalProblem(Problem(Place(source, line, column), "", message)) from None
