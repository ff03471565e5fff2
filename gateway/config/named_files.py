"""The files that a config names beside its includes: secrets (`{file: path}`) and PEM files (below `tls`)."""

from collections.abc import Iterator
from pathlib import Path

from gateway.config.lines import Value

_PEM = ("cert", "key", "ca", "client_ca")


def named_files(value: Value, directory: Path) -> Iterator[str]:
    """Every such path below `value`, whether it is right or wrong; one may come several times."""
    if isinstance(value, dict):
        if set(value) == {"file"} and isinstance(value["file"], str):
            yield str(directory / value["file"])
            return
        for key, item in value.items():
            if key == "tls":
                yield from _pem_files(item, directory)
            yield from named_files(item, directory)
    elif isinstance(value, list):
        for item in value:
            yield from named_files(item, directory)


def _pem_files(value: Value, directory: Path) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            named = (item.get(key) for key in _PEM)
            yield from (str(directory / each) for each in named if isinstance(each, str) and each)
