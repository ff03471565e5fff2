"""Answers that a gateway must refuse, and some that it must take."""

from tests.support.corpus import BAD_NAMES, BODY, CODINGS, CONTROLS, LENGTHS, SIZES, Refused, Taken, answer, rows, show


def _chunked_answer(data: bytes) -> bytes:
    return answer(b"Transfer-Encoding: chunked", body=data)


_STATUS_LINES = [
    "HTTP/1.1 099 OK",
    "HTTP/1.1 600 OK",
    "HTTP/1.1 999 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 abc OK",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\\t200 OK",
    "HTTP/1.1 +200 OK",
    "HTTP/1.1 -20 OK",
    "HTTP/1.1 200OK",
    "HTTP/1.2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/2 200 OK",
    "HTTP/0.9 200 OK",
    "http/1.1 200 OK",
    "ICY 200 OK",
    " HTTP/1.1 200 OK",
    "200 OK",
    "HTTP/1.1",
    "HTTP/1.1 ",
    "HTTP/1.1.1 200 OK",
    "SSH-2.0-OpenSSH_9.2",
]

REFUSED_ANSWER_HEADS: list[Refused] = [
    *rows(
        "length and coding",
        {502},
        {
            "length first": answer(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=BODY),
            "coding first": answer(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=BODY),
        },
    ),
    *rows("length", {502}, {show(v): answer(b"Content-Length: " + v, body=b"hello") for v in LENGTHS}),
    *rows(
        "length",
        {502},
        {
            "twice the same": answer(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
            "twice, other": answer(b"Content-Length: 5", b"Content-Length: 0", body=b"hello"),
        },
    ),
    *rows("coding", {502}, {show(v): answer(b"Transfer-Encoding: " + v, body=BODY) for v in CODINGS}),
    *rows(
        "coding",
        {502},
        {
            "twice": answer(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=BODY),
            "on the next line": answer(b"Transfer-Encoding:", b" chunked", body=BODY),
            "HTTP/1.0": answer(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK", body=BODY),
            "space before the colon": answer(b"Transfer-Encoding : chunked", body=BODY),
        },
    ),
    *rows(
        "line end",
        {502},
        {
            "LF after the status line": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
            "LF after a field": b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok",
            "LF everywhere": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            "LF for the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
            "CR in a value": answer(b"X: a\rb", b"Content-Length: 0"),
            "CR in the reason": answer(b"Content-Length: 0", line=b"HTTP/1.1 200 O\rK"),
            "empty line ahead": b"\r\n" + answer(b"Content-Length: 0"),
        },
    ),
    *rows("control byte in a value", {502}, {show(c): answer(b"X: a" + c + b"b") for c in CONTROLS}),
    *rows("control byte in the reason", {502}, {show(c): answer(line=b"HTTP/1.1 200 O" + c + b"K") for c in CONTROLS}),
    *rows(
        "field line",
        {502},
        {
            "folded with a space": answer(b"X: a", b" b"),
            "folded with a tab": answer(b"X: a", b"\tb"),
            "white space before the first": answer(b" X: a"),
            "no colon": answer(b"nonsense"),
        },
    ),
    *rows("field name", {502}, {show(name): answer(name + b": y") for name in BAD_NAMES}),
    *rows(
        "status line",
        {502},
        {each: answer(b"Content-Length: 0", line=each.encode()) for each in _STATUS_LINES},
    ),
    *rows(
        "limit",
        {502},
        {"too many fields": answer(*[b"X: y"] * 257), "too many bytes": answer(*[b"X: " + b"y" * 8000] * 9)},
    ),
]
"""Answers whose head is refused: the client gets a 502 and nothing of them."""

BROKEN_ANSWER_BODIES: list[Refused] = [
    *rows("chunk size", {502}, {show(size[:20]): _chunked_answer(size + b"\r\nhello\r\n0\r\n\r\n") for size in SIZES}),
    *rows(
        "chunk",
        {502},
        {
            "longer than its size": _chunked_answer(b"5\r\nhelloo\r\n0\r\n\r\n"),
            "LF behind the size": _chunked_answer(b"5\nhello\r\n0\r\n\r\n"),
            "LF behind the data": _chunked_answer(b"5\r\nhello\n0\r\n\r\n"),
            "nothing behind the data": _chunked_answer(b"5\r\nhello0\r\n\r\n"),
            "trailer LF": _chunked_answer(b"0\r\nX: y\n\r\n"),
            "trailer folded": _chunked_answer(b"0\r\nX: y\r\n z\r\n\r\n"),
            "trailer NUL": _chunked_answer(b"0\r\nX: \x00\r\n\r\n"),
            "too many trailers": _chunked_answer(b"0\r\n" + b"X: y\r\n" * 257 + b"\r\n"),
        },
    ),
]
"""Answers with a good head and a body whose framing breaks: a 502, or cut where the head is out already."""

TAKEN_ANSWERS: list[Taken] = [
    Taken("length", answer(b"Content-Length: 5", body=b"hello"), b"hello"),
    Taken("length of nothing", answer(b"Content-Length: 0")),
    Taken("chunks", _chunked_answer(BODY), b"hello"),
    Taken("chunks with extensions", _chunked_answer(b"5;a=b\r\nhello\r\n0;c\r\n\r\n"), b"hello"),
    Taken("trailers", _chunked_answer(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), b"hello"),
    Taken("length, HTTP/1.0", answer(b"Content-Length: 5", line=b"HTTP/1.0 200 OK", body=b"hello"), b"hello"),
    Taken("no reason", answer(b"Content-Length: 5", line=b"HTTP/1.1 200 ", body=b"hello"), b"hello"),
    Taken("no space behind the status", answer(b"Content-Length: 5", line=b"HTTP/1.1 200", body=b"hello"), b"hello"),
    Taken("latin-1 reason", answer(b"Content-Length: 5", line=b"HTTP/1.1 200 d\xe9j\xe0 vu", body=b"hello"), b"hello"),
    Taken("unknown status", answer(b"Content-Length: 5", line=b"HTTP/1.1 299 Fine", body=b"hello"), b"hello"),
    Taken("204 with a length", answer(b"Content-Length: 5", line=b"HTTP/1.1 204 No Content")),
    Taken("304 with a length", answer(b"Content-Length: 5", line=b"HTTP/1.1 304 Not Modified")),
    Taken("304 in chunks", answer(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 304 Not Modified")),
    Taken("100 ahead", answer(line=b"HTTP/1.1 100 Continue") + answer(b"Content-Length: 5", body=b"hello"), b"hello"),
    Taken(
        "103 ahead",
        answer(b"Link: </a>", line=b"HTTP/1.1 103 Hints") + answer(b"Content-Length: 5", body=b"hello"),
        b"hello",
    ),
]
"""Answers to a GET that are whole with their last byte."""
