"""Asking a running gateway at its admin address, for the commands that do."""

import socket
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

import click

from gateway.config.settings import AdminSettings
from gateway.core.address import Address, parse_address

ANSWER_S = 10.0


class AskError(Exception):
    """There is no answer to work with; the text says why and what to do."""


class _AddressType(click.ParamType["Address"]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = _AddressType()


def admin_options(command: Any) -> Any:
    """Where to ask, and who asks."""
    default = str(AdminSettings().address)
    command = click.option("--admin", type=ADDRESS, default=default, show_default=True, help="Admin address.")(command)
    token = click.option("--token", envvar="GATEWAY_ADMIN_TOKEN", default="", help="Or GATEWAY_ADMIN_TOKEN.")
    return token(command)


def ask(admin: Address, method: str, path: str, token: str, answer_s: float = ANSWER_S) -> str:
    """The body of the answer; ends with exit code 1 and one line where there is none."""
    try:
        return answer_of(admin, method, path, token, answer_s)
    except AskError as error:
        sys.exit(str(error))


def answer_of(admin: Address, method: str, path: str, token: str, answer_s: float = ANSWER_S) -> str:
    """The body of the answer, also of a 422: it says why. Raises AskError."""
    if admin.fd >= 0:
        raise click.UsageError(f"{admin} is a descriptor of the gateway alone: give the address that it listens on")
    connection = HTTPConnection(admin.host, admin.port, answer_s) if admin.host else HTTPConnection("localhost")
    try:
        if admin.path:
            connection.sock = _connect(admin.path, answer_s)
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read().decode()
    except (OSError, HTTPException) as error:
        why = f"no gateway answers at {admin} ({error}); is it running, and is --admin its address?"
        raise AskError(why) from None
    finally:
        connection.close()
    if answer.status < HTTPStatus.MULTIPLE_CHOICES or answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return body
    hint = ": give --token or set GATEWAY_ADMIN_TOKEN" if answer.status in (401, 403) else ""
    raise AskError(f"{admin} says {answer.status} {answer.reason}{hint}")


def _connect(path: str, timeout_s: float) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(timeout_s)
    try:
        connected.connect(path)
    except OSError:
        connected.close()
        raise
    return connected
