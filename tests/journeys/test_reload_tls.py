"""Certificates, keys and CAs that change on disk are used after a reload, and nobody notices."""

import http.client
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.journeys.test_reload import get, reload
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.raw import Raw
from tests.support.upstream import Upstream
from tests.support.wait import until

Serve = Callable[..., Gateway]

PONG = "routes: [{name: ping, match: /*, respond: {status: 200, body: pong}}]\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
EXPIRY = "gateway_tls_certificate_not_after_timestamp_seconds"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def issue(ca: trustme.CA, stem: Path, *names: str) -> None:
    """Write STEM.pem and STEM.key."""
    made = ca.issue_cert(*names, key_type=trustme.KeyType.ECDSA)
    made.private_key_pem.write_to_path(f"{stem}.key")
    made.cert_chain_pems[0].write_to_path(f"{stem}.pem")


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    client = ssl.create_default_context()
    ca.configure_trust(client)
    client.check_hostname = False
    return client


def shown(ca: trustme.CA, port: int) -> str:
    """The name in the certificate that a new connection is shown."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting(ca))
    connection.request("GET", "/")
    certificate = connection.sock.getpeercert()
    assert connection.getresponse().read() == b"pong"
    connection.close()
    return str(certificate["subjectAltName"][0][1])


def config(stem: Path, workers: int = 1) -> str:
    tls = f"{{cert: {stem}.pem, key: {stem}.key}}"
    return f'workers: {workers}\nlisten: [{{address: "127.0.0.1:0", tls: {tls}}}, "localhost:0"]\n{PONG}'


def test_a_renewed_certificate_is_shown_to_new_connections(serve: Serve, ca: trustme.CA, tmp_path: Path) -> None:
    stem = tmp_path / "server"
    issue(ca, stem, "old.example.com")
    gateway = serve(config(stem, workers=2))
    port, plain = gateway.port, int(gateway.base_urls[1].rpartition(":")[2])
    with Raw(port, tls=trusting(ca)) as before, Load(plain, rate=200) as load:
        assert before.send(REQUEST).answer().body == b"pong"
        issue(ca, stem, "new.example.com")
        assert shown(ca, port) == "old.example.com"
        status, document = reload(gateway)
        assert (status, document["changed"]) == (
            200,
            {"listeners": ["~ listener 127.0.0.1:0: tls.cert (what the file holds)"]},
        )
        for _ in range(8):
            assert shown(ca, port) == "new.example.com"
        assert before.send(REQUEST).answer().body == b"pong"
        load.go_on(20)
    assert load.outcomes.failed == 0, load.outcomes
    until(lambda: gateway.metric(EXPIRY, name="new.example.com") > 1_700_000_000)
    until(lambda: gateway.metric(EXPIRY, name="old.example.com") == 0)
    assert "old.example.com" not in gateway.admin("/metrics")[1]
    assert reload(gateway)[1]["changed"] == {}


def test_a_pair_that_does_not_fit_changes_nothing(serve: Serve, ca: trustme.CA, tmp_path: Path) -> None:
    stem = tmp_path / "server"
    issue(ca, stem, "old.example.com")
    gateway = serve(config(stem))
    old = (tmp_path / "server.key").read_bytes()
    issue(ca, stem, "new.example.com")
    (tmp_path / "server.key").write_bytes(old)
    status, document = reload(gateway)
    assert status == 422
    assert f"{stem}.key is not the key of the certificate {stem}.pem" in document["errors"][0]
    (tmp_path / "server.key").unlink()
    assert "cannot read" in reload(gateway)[1]["errors"][0]
    assert shown(ca, gateway.port) == "old.example.com"
    # A worker that starts meanwhile has what the others have, not what the files hold now.
    before = gateway.workers()
    gateway.signal(signal.SIGUSR2)
    until(lambda: "all workers were replaced" in gateway.errors, 20)
    assert gateway.workers() != before
    assert shown(ca, gateway.port) == "old.example.com"
    issue(ca, stem, "mended.example.com")
    assert reload(gateway)[0] == 200
    assert shown(ca, gateway.port) == "mended.example.com"


def test_plain_becomes_tls_on_the_same_socket(serve: Serve, ca: trustme.CA, tmp_path: Path) -> None:
    stem = tmp_path / "server"
    issue(ca, stem, "a.example.com")
    gateway = serve('listen: ["127.0.0.1:0", "localhost:0"]\n' + PONG)
    port = gateway.port
    with Raw(port) as plain:
        assert plain.send(REQUEST).answer().body == b"pong"
        gateway.config.write_text("admin: 127.0.0.1:0\n" + config(stem))
        assert reload(gateway)[1]["changed"] == {"listeners": ["~ listener 127.0.0.1:0: tls"]}
        assert shown(ca, port) == "a.example.com"
        assert plain.send(REQUEST).answer().body == b"pong"
    assert f"listening on https://127.0.0.1:{port}" in gateway.errors


def test_the_files_of_an_upstream_are_used_for_new_connections(
    serve: Serve, upstream: Callable[..., Upstream], ca: trustme.CA, tmp_path: Path
) -> None:
    side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(side)
    target = upstream(tls=side)
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    gateway = serve(
        f'upstreams: {{u: {{targets: "{target.url}", tls: {{ca: {tmp_path}/ca.pem}}}}}}\n'
        "routes: [{name: all, match: /*, to: u}]\n"
    )
    assert get(gateway.port, "/")[0] == 502
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    assert reload(gateway)[1]["changed"] == {"upstreams": ["~ upstream u: tls.ca (what the file holds)"]}
    assert get(gateway.port, "/")[0] == 200
