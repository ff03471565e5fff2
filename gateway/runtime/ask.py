"""Asking a running gateway at its admin address, for the commands that do."""

import sys
import urllib.error
import urllib.request
from typing import Any

import click

from gateway.config.settings import AdminSettings
from gateway.core.address import Address, parse_address

ANSWER_S = 10.0
UNPROCESSABLE = 422
"""The document of the answer says why."""


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
    """The body of the answer. Raises AskError."""
    if admin.path:
        raise click.UsageError("a unix admin address cannot be asked yet: use curl --unix-socket")
    request = urllib.request.Request(f"http://{admin}{path}", method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=answer_s) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        if error.code == UNPROCESSABLE:
            return str(error.read().decode())
        hint = ": give --token or set GATEWAY_ADMIN_TOKEN" if error.code in (401, 403) else ""
        raise AskError(f"{admin} says {error.code} {error.reason}{hint}") from None
    except OSError as error:
        why = getattr(error, "reason", error)
        raise AskError(f"no gateway answers at {admin} ({why}); is it running, and is --admin its address?") from None
