"""A running sandbox for tests, which the fixtures of pytest_plugin.py return. Uses only the standard library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

EXAMPLE = Path(__file__).resolve().parent / "example.json"
_STOP_SECONDS, _ANSWER_SECONDS = 10, 30
# No proxy, since the address is on this machine.
_OPENER = build_opener(ProxyHandler({}))


class ControlError(Exception):
    """A call that the control interface refused. The text has the HTTP status and the reason."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox. `url` has no slash at its end and serves API, sign-in pages, phone and console."""

    url: str
    pid: int

    def control(self, method: str, path: str, document: object = None, **query: str) -> Any:
        """Make a call of the control interface; `path` without /sandbox/api/. Raise ControlError."""
        body = None if method == "GET" else json.dumps(document).encode()
        address = f"{self.url}/sandbox/api/{quote(path, safe='/%')}" + (f"?{urlencode(query)}" if query else "")
        request = Request(address, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310  # http
        try:
            with _OPENER.open(request, timeout=_ANSWER_SECONDS) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise ControlError(f"{error.code} {error.read().decode(errors='replace')}") from None

    def load(self, seed: object) -> None:
        """Replace everything by a seed: companies, messages, faults, settings. The clock is reset."""
        self.control("PUT", "state", seed)

    def company(self, corpid: str = "") -> dict[str, Any]:
        """Return a company with its departments, members and apps, as in a seed; "": the first one."""
        return dict(self.control("GET", f"companies/{corpid or self._first()}"))

    def person(self, userid: str, corpid: str = "") -> Person:
        """Return a member of a company; "": of the first one. Actions of an unknown member raise ControlError."""
        return Person(self, corpid or self._first(), userid)

    def fault(self, kind: str, endpoint: str = "*", **values: object) -> dict[str, Any]:
        """Switch a fault on, by default for one call. count=None: until the next seed is loaded."""
        return dict(self.control("POST", "faults", {"kind": kind, "endpoint": endpoint, **values}))

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward, so that tokens expire and frequency limits end."""
        self.control("POST", "clock/advance", {"seconds": seconds})

    def calls(self, endpoint: str = "") -> list[dict[str, Any]]:
        """Return the calls of the API so far: time, path, errcode, ip, corpid, agentid, fault, milliseconds."""
        return self.list_rows("calls", "calls", endpoint=endpoint)

    def list_rows(self, path: str, name: str, **query: str) -> list[dict[str, Any]]:
        """Return all rows of a paged list of the control interface, oldest first. `name`: the field with the rows."""
        rows: list[dict[str, Any]] = []
        page: dict[str, Any] = {"after": 0, "more": True}
        while page["more"]:
            page = self.control("GET", path, **query, after=str(page["after"]))
            rows += page[name]
        return rows

    def _first(self) -> str:
        return str(self.control("GET", "companies")["companies"][0]["corpid"])


@dataclass(frozen=True)
class Person:
    """A member with a phone, and the actions on it."""

    sandbox: Sandbox
    corpid: str
    userid: str

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages on the phone, oldest first."""
        return self.sandbox.list_rows(f"{self._path}/messages", "messages")

    def write(self, agentid: int, text: str) -> None:
        """Write to an app: its callback receives it."""
        self._post("write", {"agentid": agentid, "text": text})

    def click(self, msgid: str, key: str, selected: Mapping[str, Sequence[str]] | None = None) -> None:
        """Press a button of a card. `selected`: question keys to ids of options."""
        self._post("click", {"msgid": msgid, "key": key, "selected": selected or {}})

    def authorize(self, **visit: object) -> dict[str, str]:
        """Pass the authorise page. Return {"code", "url"}. `visit`: redirect_uri, and state, agentid or scope."""
        return dict(self._post("authorize", visit))

    def leave(self) -> None:
        """Leave the company."""
        self.sandbox.control("DELETE", self._path, {})

    @property
    def _path(self) -> str:
        return f"companies/{self.corpid}/members/{self.userid}"

    def _post(self, action: str, document: object) -> Any:
        return self.sandbox.control("POST", f"{self._path}/{action}", document)


def read_example_seed() -> Any:
    """Return the seed of the example company."""
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


@contextmanager
def run_sandbox(
    *,
    seed: object = None,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Sandbox]:
    """Run a sandbox in its own process on a free port of 127.0.0.1 while the block runs. `seed`: None for the example;
    `arguments` of the command; `env`: variables added to the caller's; `folder`: working directory. Raise RuntimeError
    if it does not start; the reason is on standard error."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "wecom_sandbox", "--port", "0", *arguments]
        if seed is not None:
            path = Path(scratch) / "seed.json"
            path.write_text(json.dumps(seed), encoding="utf-8")
            command += ["--seed", str(path)]
        process = subprocess.Popen(  # noqa: S603  # our own command
            command, cwd=folder, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Sandbox(_read_address(process), process.pid)
        finally:
            _stop_process(process)


def _read_address(process: subprocess.Popen[str]) -> str:
    """Return the address in the first line that the command prints when it listens."""
    line = process.stdout.readline() if process.stdout is not None else ""
    if "http://" not in line:
        raise RuntimeError(f"the sandbox did not start: {line!r}, exit code {process.wait(_STOP_SECONDS)}")
    return line.split()[-1].rstrip("/")


def _stop_process(process: subprocess.Popen[str]) -> None:
    """Terminate the process; kill it if it has not ended after _STOP_SECONDS."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
