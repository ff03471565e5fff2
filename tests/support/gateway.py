"""A real gateway in its own processes, on ports that the system picks."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.wait import until

_LISTENING = re.compile(r"listening on (https?://[^\s\"]+|unix:[^\s\"]+)")
_ADMIN = re.compile(r"admin on (http://[^\s\"]+)")
_SAMPLE = re.compile(r"^(gateway_\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Gateway:
    """`python -m gateway run` on the YAML `config`, in `directory`; use it in a `with`.

    `listen: 127.0.0.1:0` and `admin: 127.0.0.1:0` are put in unless the config says otherwise.
    Standard output (the access log) and standard error go to files in `directory`. With `wait=False` it is
    not waited for; `descriptors` is its RLIMIT_NOFILE; `hung_after_s` when a silent worker is replaced;
    `within` a command that runs it.
    """

    def __init__(
        self,
        config: str,
        directory: Path,
        *,
        arguments: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        descriptors: int = 0,
        hung_after_s: float = 0.0,
        within: tuple[str, ...] = (),
        wait: bool = True,
    ) -> None:
        self.config = directory / "gateway.yaml"
        self.config.write_text(_with_addresses(config))
        self._wait = wait
        self._descriptors = descriptors
        self._out, self._err = directory / "gateway.out", directory / "gateway.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", *_module(str(self.config), hung_after_s), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                env={**os.environ, **(env or {})},
                preexec_fn=self._limit if descriptors else None,  # noqa: PLW1509 - no threads yet
            )
        self.base_urls: list[str] = []
        self.admin_url = ""

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors, self._descriptors))

    def __enter__(self) -> Self:
        if self._wait:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.stop_at_once()

    @property
    def base_url(self) -> str:
        """Of the first listener, such as `http://127.0.0.1:40123`."""
        return self.base_urls[0]

    @property
    def port(self) -> int:
        """Of the first listener."""
        return int(self.base_url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self.process.pid

    @property
    def errors(self) -> str:
        """What it wrote to standard error so far."""
        return self._err.read_text()

    @property
    def output(self) -> str:
        """What it wrote to standard output so far."""
        return self._out.read_text()

    def access_log(self) -> list[dict[str, Any]]:
        """The access log lines so far (format json, path `-`); a line still being written is left out."""
        text = self.output
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def logged(self, **fields: Any) -> dict[str, Any]:
        """The last line of the access log that has these fields, as soon as there is one."""

        def find() -> dict[str, Any] | None:
            lines = reversed(self.access_log())
            return next((line for line in lines if all(line[name] == fields[name] for name in fields)), None)

        return until(find, what=f"a line with {fields}") or {}

    def wait_ready(self, timeout: float = 15.0) -> None:
        """Return when /readyz says 200. Raises AssertionError with its errors when it ends before that."""
        until(self._is_ready, timeout, f"gateway ready; it said:\n{self.errors}")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"the gateway ended ({self.process.returncode}):\n{self.errors}"
        said = self.errors  # read once: the admin address comes last
        self.base_urls = _LISTENING.findall(said)
        if admin := _ADMIN.search(said):
            self.admin_url = admin.group(1)
        return bool(self.base_urls and self.admin_url) and self.admin("/readyz")[0] == 200

    def admin(self, path: str) -> tuple[int, str]:
        """Status and body of `GET path` at the admin address; (0, reason) when it cannot be reached."""
        try:
            with _NO_PROXY.open(self.admin_url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self) -> dict[str, Any]:
        """The document of /status."""
        code, body = self.admin("/status")
        assert code == 200, body
        return dict(json.loads(body))

    def workers(self) -> list[int]:
        """Pids of the workers that serve."""
        return [each["pid"] for each in self.status()["workers"] if each["state"] == "serving"]

    def metrics(self) -> dict[str, float]:
        """All samples of /metrics: `name{labels}` -> value."""
        code, body = self.admin("/metrics")
        assert code == 200, body
        return {name: float(value) for name, value in _SAMPLE.findall(body)}

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum over all series of `name` that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for series, value in self.metrics().items()
            if series.partition("{")[0] == name and all(pair in series for pair in wanted)
        )

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, and the exit code when it has drained."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def stop_at_once(self, timeout: float = 10.0) -> int:
        """SIGTERM twice, and the exit code."""
        for _ in range(2):
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
                time.sleep(0.02)  # two signals at the same instant are one to the kernel
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to the supervisor; its workers end by themselves."""
        self.process.kill()
        self.process.wait()


def _module(config: str, hung_after_s: float) -> tuple[str, ...]:
    if hung_after_s:
        return ("tests.support.supervise", config, str(hung_after_s))
    return ("gateway", "run", config)


def _with_addresses(config: str) -> str:
    lines = config.splitlines()
    missing = [key for key in ("listen", "admin") if not any(line.startswith(key + ":") for line in lines)]
    return "".join(f"{key}: 127.0.0.1:0\n" for key in missing) + config
