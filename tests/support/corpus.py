"""Messages that a gateway must refuse (smuggling, splitting, desynchronisation), and some that it must take.

One table for all tests: the grammar, a connection fed in every cut, and the whole gateway over sockets.
"""

from dataclasses import dataclass

HOST = b"Host: gateway.test"


@dataclass(frozen=True, slots=True)
class Refused:
    """A request or answer to refuse; `statuses` are the ones that may be answered."""

    id: str
    data: bytes
    statuses: frozenset[int]

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Taken:
    """A message to take: where its body ends, and what the body is."""

    id: str
    data: bytes
    body: bytes = b""

    def __str__(self) -> str:
        return self.id


def request(*lines: bytes, line: bytes = b"POST /x HTTP/1.1", body: bytes = b"") -> bytes:
    """A request with a Host field, then `lines`."""
    return b"\r\n".join([line, HOST, *lines, b"", body])


def rows(prefix: str, statuses: set[int], made: dict[str, bytes]) -> list[Refused]:
    return [Refused(f"{prefix}: {name}", data, frozenset(statuses)) for name, data in made.items()]


def show(raw: bytes) -> str:
    return ascii(raw.decode("latin-1"))[1:-1]


def answer(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    """An answer with the field lines `lines`."""
    return b"\r\n".join([line, *lines, b"", body])


BODY = b"5\r\nhello\r\n0\r\n\r\n"
CONTROLS = [bytes([code]) for code in (*range(9), 11, 12, *range(14, 32), 127)]
"""Every control byte but tab, CR and LF."""

LENGTHS = [
    b"+5", b"-1", b"0x5", b"", b"5 5", b"5;", b"5,", b",5", b"5, 5", b"5,5", b"5, 6", b"1e3", b"5_0", b"5.0", b'"5"',
    b"\xb2", b"9223372036854775808", b"99999999999999999999", b"00000000000000000005", b"5\x0b", b"0x", b"abc",
]  # fmt: skip
CODINGS = [
    b"gzip, chunked", b"chunked, identity", b"chunked;q=1", b"xchunked", b"chunked, chunked", b"", b"identity", b"gzip",
    b"chun ked", b", chunked", b"chunked,", b'"chunked"', b"chunked\x80", b"\xa0chunked", b"chunkedx", b"chunked; a=b",
    b"cow", b"identity, chunked", b"trailers", b"c hunked",
]  # fmt: skip
BAD_NAMES = [b"X Y", b"X\t", b"X ", b"", b"X(Y", b"X\x00", b"X\x7f", b"X\xe9", b'"X"', b"X/Y", b"X@", b"X[0]", b"X{"]
SIZES = [
    b"", b"+5", b"-5", b"0x5", b" 5", b"5 ", b"5\t", b"5 ;a", b"5\x0b", b"00000000000000005", b"fffffffffffffffff",
    b"8000000000000000", b"ffffffffffffffff", b"g", b"5,", b"5;\x00", b"5;a\x01b", b"5;a\x7f", b"5;" + b"a" * 257,
    b"5;a\rb", b"\xb2", b"5_0", b"5h",
]  # fmt: skip
