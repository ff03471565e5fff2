"""Messages made wrong at random, always the same for the same seed."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

_PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b"0", b"\x00", b"\x7f", b"\xff", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content-length:7\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n", b"Host: other.test\r\n", b" folded\r\n", b"HTTP/1.0", b"HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"chunked", b"-1", b"+",
    b"0x", b"ffffffffffffffff", b"9" * 20, b"\r\n ", b"X: " + b"y" * 200 + b"\r\n", b"100", b"204", b"304", b"HEAD",
    b"\x0b", b"\xc2\xa0", b"%00", b"#",
]  # fmt: skip

Mutation = Callable[[Random, bytearray], None]


def _flip(rng: Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def _delete(rng: Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 1, 1, 2, 5, 20))]


def _insert(rng: Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(_PIECES)


def _insert_line(rng: Random, data: bytearray) -> None:
    ends = [at for at in range(len(data)) if data.startswith(b"\r\n", at)]
    if ends:
        at = rng.choice(ends) + 2
        data[at:at] = rng.choice(_PIECES)


def _repeat(rng: Random, data: bytearray) -> None:
    at, size = rng.randrange(len(data)), rng.choice((1, 2, 10, 40))
    data[at:at] = data[at : at + size]


def _cut(rng: Random, data: bytearray) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def _swap(rng: Random, data: bytearray) -> None:
    lines = bytes(data).split(b"\r\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    data[:] = b"\r\n".join(lines)


def _change_case(rng: Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at : at + 8] = bytes(data[at : at + 8]).swapcase()


_MUTATIONS: Sequence[Mutation] = (
    _flip, _flip, _delete, _insert, _insert, _insert_line, _insert_line, _insert_line, _repeat, _cut, _swap,
    _change_case,
)  # fmt: skip


def mutated(seed: int, count: int, messages: Sequence[bytes]) -> Iterator[bytes]:
    """`count` messages, each made from one of `messages` (sometimes two) with up to three mutations."""
    rng = Random(seed)
    for _ in range(count):
        data = bytearray(rng.choice(messages))
        if rng.random() < 0.1:
            data += rng.choice(messages)
        for _ in range(rng.randrange(4)):
            if data:
                rng.choice(_MUTATIONS)(rng, data)
        yield bytes(data)


def pieces_of(rng: Random, data: bytes) -> list[bytes]:
    """`data` in one to four pieces."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 3))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
