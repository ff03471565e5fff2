"""A name that another listener guards with client certificates is not served here, whatever SNI said."""

from pathlib import Path

import pytest
import trustme

from gateway.config.settings import GatewaySettings
from gateway.core.address import Address
from gateway.decide.route.match import parse_match
from gateway.pipeline.settings import RespondSettings, RouteSettings
from gateway.transport.settings import CertificateSettings, ListenSettings, ListenTlsSettings, Pem
from gateway.transport.tls import read_pem
from tests.support.http import read_answers
from tests.support.wired import Wired


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    """Listener 0: plain; 1: TLS for public.test; 2: TLS for secret.test and *.inner.test with client certificates."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def tls(name: str, *names: str, client_ca: str = "") -> ListenTlsSettings:
        path = str(tmp_path / f"{name}.pem")
        authority.issue_cert(name, *names).private_key_and_cert_chain_pem.write_to_path(path)
        return ListenTlsSettings(
            (CertificateSettings(read_pem(path), read_pem(path)),),
            client_ca=read_pem(client_ca) if client_ca else Pem(),
        )

    guarded = tls("secret.test", "*.inner.test", client_ca=str(tmp_path / "ca.pem"))
    return GatewaySettings(
        listen=(
            ListenSettings(Address("127.0.0.1", 80)),
            ListenSettings(Address("127.0.0.1", 443), tls=tls("public.test")),
            ListenSettings(Address("127.0.0.1", 444), tls=guarded),
        ),
        routes=(RouteSettings("all", parse_match("/*"), RespondSettings(body=b"secret")),),
    )


@pytest.mark.parametrize(
    ("listener", "host", "status"),
    [
        (0, "public.test", 200),
        (0, "secret.test", 421),
        (0, "SECRET.test:443", 421),
        (0, "secret.test.", 421),
        (0, "a.inner.test", 421),
        (0, "a.b.inner.test", 200),
        (0, "inner.test", 200),
        (1, "public.test", 200),
        (1, "secret.test", 421),
        (1, "other.test", 200),
        (2, "secret.test", 200),
        (2, "a.inner.test", 200),
    ],
)
async def test_421(settings: GatewaySettings, listener: int, host: str, status: int) -> None:
    wired = Wired(settings)
    for data in (
        f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET http://{host}/ HTTP/1.1\r\nHost: public.test\r\n\r\n",
    ):
        client = wired.client(listener=listener)
        client.send(data.encode() * 2)
        await wired.settle()
        answers = read_answers(client.clear())
        assert [each.status for each in answers] == [status] * 2
        assert answers[0].reason == ("misdirected" if status == 421 else None)
