"""Answers as a strict client reads them, for tests that look at every byte."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `whole` is false where it was cut before its end."""

    status: int
    lines: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool = True
    trailers: tuple[tuple[str, str], ...] = field(default=())

    def get(self, name: str) -> str | None:
        """The value of the only field of that name; None where there is none."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.lines if each.lower() == name.lower()]

    @property
    def reason(self) -> str | None:
        """Why the gateway itself answered."""
        return self.get("x-gateway-reason")


def read_answers(data: bytes, *, methods: tuple[str, ...] = (), closed: bool = False) -> list[Answer]:
    """All answers in `data`, interim ones included; `methods` of the requests where they matter (HEAD).

    closed: the connection ended behind `data`. Asserts that every head is well-formed.
    """
    found: list[Answer] = []
    final = 0
    while data:
        method = methods[final] if final < len(methods) else "GET"
        answer, data = read_answer(data, method, closed)
        found.append(answer)
        final += answer.status >= 200
    return found


def read_answer(data: bytes, method: str, closed: bool) -> tuple[Answer, bytes]:
    """The first answer in `data`, as far as it is here, and what stands behind it."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return Answer(0, (), head, whole=False), b""
    assert b"\n" not in head.replace(b"\r\n", b""), head
    assert b"\r" not in head.replace(b"\r\n", b""), head
    start, *lines = head.decode("latin-1").split("\r\n")
    version, status, _ = start.split(" ", 2)
    assert version == "HTTP/1.1", start
    fields = _fields(lines)
    index = {name.lower(): value for name, value in fields}
    assert not ("content-length" in index and "transfer-encoding" in index), head
    code = int(status)
    if method == "HEAD" or code < 200 or code in (204, 304):
        return Answer(code, fields, b""), rest
    if "transfer-encoding" in index:
        assert index["transfer-encoding"] == "chunked"
        return _read_chunks(code, fields, rest)
    if "content-length" in index:
        length = int(index["content-length"])
        return Answer(code, fields, rest[:length], whole=len(rest) >= length), rest[length:]
    return Answer(code, fields, rest, whole=closed), b""


def _fields(lines: list[str]) -> tuple[tuple[str, str], ...]:
    parts = [line.partition(": ") for line in lines]
    assert all(colon for _, colon, _ in parts), lines
    return tuple((name, value) for name, _, value in parts)


def _read_chunks(status: int, fields: tuple[tuple[str, str], ...], data: bytes) -> tuple[Answer, bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = int(line, 16) if end else -1
        if size < 0 or (size and len(data) < size + 2):
            return Answer(status, fields, body, whole=False), b""
        if size == 0:
            break
        assert data[size : size + 2] == b"\r\n"
        body += data[:size]
        data = data[size + 2 :]
    if data.startswith(b"\r\n"):
        return Answer(status, fields, body), data[2:]
    section, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return Answer(status, fields, body, whole=False), b""
    return Answer(status, fields, body, trailers=_fields(section.decode("latin-1").split("\r\n"))), rest
