"""Requests that a gateway must refuse, and some that it must take."""

from tests.support.corpus import (
    BAD_NAMES,
    BODY,
    CODINGS,
    CONTROLS,
    HOST,
    LENGTHS,
    SIZES,
    Refused,
    Taken,
    request,
    rows,
    show,
)

_HOSTS = [
    b"", b"a/b", b"user@a", b"user:word@a", b"a:99999", b"a:abc", b"a:-1", b"a b", b"a, b", b"a,b", b"[::1", b"[zz]",
    b"::1", b"a:80:90", b"a?b", b"a#b", b"a\\b", b"%41", b"a:80 b", b"http://a", b"a\xe9", b"[::1]x", b"a:+80", b"a\tb",
    b"a;b", b"a=b", b"<a>", b"a:080000",
]  # fmt: skip
_TARGETS = [
    b"x", b"x/y", b"*x", b"/a#b", b"/#", b"/%zz", b"/%", b"/%4", b"/%00", b"/a\\b", b"/%5c", b"/%2f", b"/%2F..", b"ftp://a/",
    b"http:/a", b"http:///a", b"http://", b"http://u@a/", b"http://a:99999/", b"http://a b/", b"http://a/#f", b"https://a\\b/",
    b"javascript:alert(1)", b"?a", b"http://a,b/",
]  # fmt: skip
_BAD_TARGET_BYTES = [b"\x00", b"\x01", b"\x0b", b"\x1f", b"\x7f", b"\x80", b"\xc3\xa9", b"\xff", b"\t"]


def _chunks(data: bytes, *lines: bytes) -> bytes:
    return request(b"Transfer-Encoding: chunked", *lines, body=data)


REFUSED_REQUESTS: list[Refused] = [
    *rows(
        "length and coding",
        {400},
        {
            "length first": request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=BODY),
            "coding first": request(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=BODY),
            "length of nothing": request(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=BODY),
            "odd case": request(b"tRANSFER-eNCODING: chunked", b"cONTENT-lENGTH: 5", body=BODY),
            "far apart": request(b"Content-Length: 5", *[b"A: b"] * 50, b"Transfer-Encoding: chunked", body=BODY),
        },
    ),
    *rows("length", {400}, {show(v): request(b"Content-Length: " + v, body=b"hello") for v in LENGTHS}),
    *rows(
        "length",
        {400},
        {
            "twice the same": request(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
            "twice, other": request(b"Content-Length: 5", b"Content-Length: 0", body=b"hello"),
            "twice, other case": request(b"Content-Length: 5", b"content-length: 6", body=b"hello"),
            "and one empty": request(b"Content-Length: 5", b"Content-Length:", body=b"hello"),
        },
    ),
    *rows("coding", {400, 501}, {show(v): request(b"Transfer-Encoding: " + v, body=BODY) for v in CODINGS}),
    *rows(
        "coding",
        {400, 501},
        {
            "twice": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=BODY),
            "twice, other": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow", body=BODY),
            "gzip, then chunked": request(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=BODY),
            "on the next line": request(b"Transfer-Encoding:", b" chunked", body=BODY),
            "over two lines": request(b"Transfer-Encoding: chun", b"\tked", body=BODY),
            "VT ahead": request(b"Transfer-Encoding:\x0bchunked", body=BODY),
            "NUL behind": request(b"Transfer-Encoding: chunked\x00", body=BODY),
            "CR behind": request(b"Transfer-Encoding: chunked\r", body=BODY),
            "space before the colon": request(b"Transfer-Encoding : chunked", body=BODY),
            "space before the name": request(b"X: y", b" Transfer-Encoding: chunked", body=BODY),
            "HTTP/1.0": request(b"Transfer-Encoding: chunked", line=b"POST /x HTTP/1.0", body=BODY),
            "HTTP/1.0, kept alive": request(
                b"Transfer-Encoding: chunked", b"Connection: keep-alive", line=b"POST /x HTTP/1.0", body=BODY
            ),
        },
    ),
    *rows(
        "line end",
        {400},
        {
            "LF after the request line": b"GET /x HTTP/1.1\n" + HOST + b"\r\n\r\n",
            "LF after a field": b"GET /x HTTP/1.1\r\n" + HOST + b"\nX: y\r\n\r\n",
            "LF for the empty line": b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n\n",
            "LF LF": b"GET /x HTTP/1.1\r\n" + HOST + b"\n\n",
            "LF everywhere": b"GET /x HTTP/1.1\n" + HOST + b"\n\n",
            "LF in a value": request(b"X: a\nTransfer-Encoding: chunked"),
            "CR in a value": request(b"X: a\rb"),
            "CR for CRLF": request(b"X: a\rY: b"),
            "CR in a name": request(b"X\rY: b"),
            "CR in the request line": request(line=b"GET /x\r HTTP/1.1"),
            "CR CR LF": b"GET /x HTTP/1.1\r\n" + HOST + b"\r\r\n\r\n",
            "CR CR LF at the end": b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n\r\r\n\r\n",
            "LF ahead": b"\n" + request(line=b"GET /x HTTP/1.1"),
            "CR ahead": b"\r" + request(line=b"GET /x HTTP/1.1"),
            "three empty lines ahead": b"\r\n\r\n\r\n" + request(line=b"GET /x HTTP/1.1"),
        },
    ),
    *rows("control byte in a value", {400}, {show(c): request(b"X: a" + c + b"b") for c in CONTROLS}),
    *rows(
        "field line",
        {400},
        {
            "folded with a space": request(b"X: a", b" b"),
            "folded with a tab": request(b"X: a", b"\tb"),
            "white space before the first": b"GET /x HTTP/1.1\r\n " + HOST + b"\r\n\r\n",
            "tab before the first": b"GET /x HTTP/1.1\r\n\t" + HOST + b"\r\n\r\n",
            "only white space": request(b"X: a", b" "),
            "no colon": request(b"nonsense"),
            "a request in it": request(b"GET /inner HTTP/1.1"),
        },
    ),
    *rows("field name", {400}, {show(name): request(name + b": y") for name in BAD_NAMES}),
    *rows("target", {400}, {show(target): request(line=b"GET " + target + b" HTTP/1.1") for target in _TARGETS}),
    *rows("target byte", {400}, {show(raw): request(line=b"GET /a" + raw + b" HTTP/1.1") for raw in _BAD_TARGET_BYTES}),
    *rows(
        "request line",
        {400},
        {
            "two spaces": request(line=b"GET  /x HTTP/1.1"),
            "two spaces before the version": request(line=b"GET /x  HTTP/1.1"),
            "tab": request(line=b"GET\t/x HTTP/1.1"),
            "space ahead": request(line=b" GET /x HTTP/1.1"),
            "space behind": request(line=b"GET /x HTTP/1.1 "),
            "lower case": request(line=b"get /x HTTP/1.1"),
            "mixed case": request(line=b"Get /x HTTP/1.1"),
            "no token": request(line=b"GE(T /x HTTP/1.1"),
            "no method": request(line=b" /x HTTP/1.1"),
            "no target": request(line=b"GET  HTTP/1.1"),
            "space in the target": request(line=b"GET /a b HTTP/1.1"),
            "UTF-8 byte order mark": request(line=b"\xef\xbb\xbfGET /x HTTP/1.1"),
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        },
    ),
    *rows("version", {505}, {"the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}),
    *rows(
        "version",
        {505},
        {each: request(line=b"GET /x " + each.encode()) for each in ("HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/3.0")},
    ),
    *rows(
        "version",
        {400, 505},
        {each: request(line=b"GET /x " + each.encode()) for each in ("HTTP/1.10", "HTTP/11", "HTTP/2", "HTTP/01.1")},
    ),
    *rows(
        "version",
        {400},
        {
            each: request(line=b"GET /x " + each.encode())
            for each in (
                "http/1.1",
                "RTSP/1.0",
                "ICE/1.0",
                "HTTP/1.x",
                "HTTP/1.",
                "HTTP/",
                "HTTP",
                "HTTPS/1.1",
                "HTTP /1.1",
            )
        },
    ),
    *rows("version", {400}, {"none": b"GET /x\r\n\r\n", "none, with fields": request(line=b"GET /x")}),
    *rows("Host", {400}, {show(host): b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in _HOSTS}),
    *rows(
        "Host",
        {400},
        {
            "none": b"GET /x HTTP/1.1\r\nX: y\r\n\r\n",
            "no field at all": b"GET /x HTTP/1.1\r\n\r\n",
            "twice": request(b"Host: other.test"),
            "twice the same": request(HOST),
            "and an empty one": request(b"Host:"),
            "none with an absolute target": b"GET http://gateway.test/x HTTP/1.1\r\nX: y\r\n\r\n",
        },
    ),
    *rows(
        "form",
        {405, 501},
        {
            "CONNECT": request(line=b"CONNECT gateway.test:443 HTTP/1.1"),
            "CONNECT with a path": request(line=b"CONNECT /x HTTP/1.1"),
            "CONNECT with a URL": request(line=b"CONNECT http://gateway.test/x HTTP/1.1"),
            "* with GET": request(line=b"GET * HTTP/1.1"),
            "* with POST": request(line=b"POST * HTTP/1.1"),
        },
    ),
    *rows("chunk size", {400}, {show(size[:20]): _chunks(size + b"\r\nhello\r\n0\r\n\r\n") for size in SIZES}),
    *rows(
        "chunk",
        {400},
        {
            "longer than its size": _chunks(b"5\r\nhelloo\r\n0\r\n\r\n"),
            "shorter than its size": _chunks(b"6\r\nhello\r\n0\r\n\r\n"),
            "LF behind the size": _chunks(b"5\nhello\r\n0\r\n\r\n"),
            "CR behind the size": _chunks(b"5\rhello\r\n0\r\n\r\n"),
            "LF behind the data": _chunks(b"5\r\nhello\n0\r\n\r\n"),
            "CR CR LF behind the data": _chunks(b"5\r\nhello\r\r\n0\r\n\r\n"),
            "nothing behind the data": _chunks(b"5\r\nhello0\r\n\r\n"),
            "LF behind the extension": _chunks(b"5;a=b\nhello\r\n0\r\n\r\n"),
            "LF behind the last": _chunks(b"5\r\nhello\r\n0\n\r\n"),
            "LF for the last line": _chunks(b"5\r\nhello\r\n0\r\n\n"),
            "second size malformed": _chunks(b"5\r\nhello\r\nx\r\n\r\n"),
        },
    ),
    *rows(
        "trailer",
        {400},
        {
            "LF behind": _chunks(b"0\r\nX: y\n\r\n"),
            "LF for the empty line": _chunks(b"0\r\nX: y\r\n\n"),
            "folded": _chunks(b"0\r\nX: y\r\n z\r\n\r\n"),
            "white space ahead": _chunks(b"0\r\n X: y\r\n\r\n"),
            "no colon": _chunks(b"0\r\nnonsense\r\n\r\n"),
            "space before the colon": _chunks(b"0\r\nX : y\r\n\r\n"),
            "NUL": _chunks(b"0\r\nX: \x00\r\n\r\n"),
            "CR in a value": _chunks(b"0\r\nX: a\rb\r\n\r\n"),
        },
    ),
    *rows(
        "limit",
        {431},
        {
            "too many trailers": _chunks(b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n"),
            "trailers too large": _chunks(b"0\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 5 + b"\r\n"),
            "too many fields": request(*[b"X: y"] * 100),
            "too many bytes": request(*[b"X: " + b"y" * 8000] * 5),
            "a line too long": request(b"X: " + b"y" * 9000),
        },
    ),
    *rows(
        "limit",
        {414},
        {
            "target too long": request(line=b"GET /" + b"x" * 9000 + b" HTTP/1.1"),
            "query too long": request(line=b"GET /?" + b"x" * 9000 + b" HTTP/1.1"),
            "method too long": request(line=b"G" * 9000 + b" / HTTP/1.1"),
        },
    ),
]
"""Requests after which the connection is closed; nothing of them, or behind them, may reach a target."""

TAKEN_REQUESTS: list[Taken] = [
    Taken("no body", request(line=b"GET /x HTTP/1.1")),
    Taken("length", request(b"Content-Length: 5", body=b"hello"), b"hello"),
    Taken("length of nothing", request(b"Content-Length: 0")),
    Taken("length with leading zeros", request(b"Content-Length: 005", body=b"hello"), b"hello"),
    Taken("length between blanks", request(b"Content-Length: \t 5 \t", body=b"hello"), b"hello"),
    Taken("length, HTTP/1.0", request(b"Content-Length: 5", line=b"POST /x HTTP/1.0", body=b"hello"), b"hello"),
    Taken("chunks", request(b"Transfer-Encoding: chunked", body=BODY), b"hello"),
    Taken("chunks, odd case", request(b"transfer-ENCODING:ChUnKeD", body=BODY), b"hello"),
    Taken("chunks between blanks", request(b"Transfer-Encoding: \t chunked \t", body=BODY), b"hello"),
    Taken(
        "many chunks",
        _chunks(b"1\r\na\r\n" * 20 + b"A\r\n0123456789\r\n00\r\n\r\n"),
        b"a" * 20 + b"0123456789",
    ),
    Taken("extensions", _chunks(b'5;a=b;c="d\xe9"\r\nhello\r\n0;x\r\n\r\n'), b"hello"),
    Taken("no chunk", _chunks(b"0\r\n\r\n")),
    Taken("trailers", _chunks(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Two:\r\n\r\n"), b"hello"),
    Taken("CRLF in the data", _chunks(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), b"\r\n\r\n"),
    Taken("one empty line ahead", b"\r\n" + request(b"Content-Length: 5", body=b"hello"), b"hello"),
    Taken("two empty lines ahead", b"\r\n\r\n" + request(b"Content-Length: 5", body=b"hello"), b"hello"),
    Taken("an unusual method", request(line=b"M-SEARCH /x HTTP/1.1")),
    Taken(
        "an underscored name is no coding",
        request(b"Transfer_Encoding: x", b"Content-Length: 5", body=b"hello"),
        b"hello",
    ),
    Taken(
        "latin-1 and tabs in a value", request(b"X: caf\xe9\tau lait", b"Content-Length: 5", body=b"hello"), b"hello"
    ),
    Taken("an empty value", request(b"X:", b"Y: ", b"Content-Length: 5", body=b"hello"), b"hello"),
    Taken("absolute form", request(line=b"GET http://gateway.test/x HTTP/1.1")),
]
"""Requests that are whole with their last byte."""
