"""When a config is read again, and when not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.config.sources import Sources
from gateway.runtime.watch import Watch

EVERY_S = 0.05


class Files:
    """Two files under watch; `reloads` counts, and takes what was read for known unless the reading `fails`."""

    def __init__(self, directory: Path) -> None:
        self.paths = [directory / "a", directory / "b"]
        for each in self.paths:
            each.write_text("text")
        self.known = Sources.of([str(each) for each in self.paths], [])
        self.reloads = 0
        self.fails = False
        self.restless = False
        """A file changes ahead of each look."""
        self.looks = 0
        self.watch = Watch(self._read_from, self._reload, every_s=EVERY_S)

    def _read_from(self) -> Sources:
        self.looks += 1
        if self.restless:
            self.paths[0].write_text("part" * self.looks)
        return self.known

    async def _reload(self) -> None:
        self.reloads += 1
        if not self.fails:
            self.known = self.known.look()

    async def looked(self, times: int = 4) -> None:
        """Return when it looked so often again."""
        await self.until(lambda wanted=self.looks + times: self.looks >= wanted)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.005)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Files]:
    made = Files(tmp_path)
    made.watch.use(True)
    yield made
    made.watch.use(False)


async def test_nothing_is_read_while_nothing_changes(files: Files) -> None:
    await files.looked()
    assert files.reloads == 0


async def test_several_changes_within_a_moment_are_one(files: Files) -> None:
    for each in files.paths:
        each.write_text("changed")
    await files.until(lambda: files.reloads)
    await files.looked()
    assert files.reloads == 1


async def test_what_cannot_be_used_is_tried_once_until_it_changes(files: Files) -> None:
    files.fails = True
    files.paths[0].write_text("broken")
    await files.until(lambda: files.reloads)
    await files.looked()
    assert files.reloads == 1
    files.paths[0].write_text("broken again")
    await files.until(lambda: files.reloads == 2)
    files.fails = False
    files.paths[0].write_text("mended")
    await files.until(lambda: files.reloads == 3)


async def test_what_somebody_else_read_is_not_read_again(files: Files) -> None:
    files.paths[0].write_text("changed")
    files.known = files.known.look()
    await files.looked()
    assert files.reloads == 0


async def test_a_file_that_goes_on_changing_is_left_until_it_rests(files: Files) -> None:
    files.restless = True
    await files.looked(6)
    assert files.reloads == 0
    files.restless = False
    await files.until(lambda: files.reloads == 1)


async def test_it_ends_when_it_is_switched_off(files: Files) -> None:
    files.watch.use(False)
    files.paths[0].write_text("changed")
    other = Files(files.paths[0].parent)
    other.watch.use(True)
    await other.looked()
    other.watch.use(False)
    assert (files.looks, files.reloads) == (0, 0)
    files.watch.use(True)
    await files.until(lambda: files.reloads == 1)
