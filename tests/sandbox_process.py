"""Starts a WeCom sandbox as its own process, for any suite that needs one (docs/en/sandbox.md has the seed's format).

@pytest.fixture
def sandbox():
    with start_sandbox(seed={"companies": [company()]}) as handle:
        yield handle

def test_push(sandbox):
    client = WeComClient(base_url=sandbox.base_url, …)
    …
    assert sandbox.messages("ww0000000000000001", "lilei")[0]["text"]["content"] == "hello"
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
CORPID, AGENTID, SECRET = "ww0000000000000001", 1000002, "sandbox-secret-of-app-1000002"
_START_SECONDS, _STOP_SECONDS = 120, 10


@dataclass(frozen=True)
class SandboxHandle:
    """A running sandbox. `base_url` has no slash at its end and serves API, authorise page and QR page alike."""

    base_url: str
    session: requests.Session
    pid: int

    def control(self, method: str, path: str, document: object = None, **query: str) -> Any:
        """A call of the control interface; `path` without /sandbox/api/. Raises requests.HTTPError."""
        url = f"{self.base_url}/sandbox/api/{path}"
        body = None if method == "GET" else document
        response = self.session.request(method, url, json=body, params=query, headers=_JSON, timeout=30)
        if not response.ok:
            raise requests.HTTPError(f"{response.status_code} {response.text}", response=response)
        return response.json()

    def load(self, seed: object) -> None:
        """Replace everything by a seed."""
        self.control("PUT", "state", seed)

    def messages(self, corpid: str, userid: str) -> list[dict[str, Any]]:
        """What stands on a member's phone, oldest first."""
        return self.listed(f"companies/{corpid}/members/{userid}/messages", "messages")

    def calls(self, endpoint: str = "") -> list[dict[str, Any]]:
        """The calls of the API so far: time, path, errcode, ip, corpid, agentid, fault, milliseconds."""
        return self.listed("calls", "calls", endpoint=endpoint)

    def listed(self, path: str, name: str, **query: str) -> list[dict[str, Any]]:
        """All rows of a list of the control interface, oldest first, page by page."""
        rows: list[dict[str, Any]] = []
        page: dict[str, Any] = {"after": 0, "more": True}
        while page["more"]:
            page = self.control("GET", path, **query, after=str(page["after"]))
            rows += page[name]
        return rows

    def fault(self, kind: str, endpoint: str = "*", **values: object) -> dict[str, Any]:
        """Switch a fault on, by default for one call; count=None: until `control("DELETE", "faults")`."""
        return dict(self.control("POST", "faults", {"kind": kind, "endpoint": endpoint, **values}))

    def advance(self, seconds: float) -> None:
        self.control("POST", "clock/advance", {"seconds": seconds})

    def authorize(self, corpid: str, userid: str, **visit: object) -> dict[str, str]:
        """The person passes the authorise page: {"code", "url"}. Needs redirect_uri; state and agentid as wished."""
        return dict(self.control("POST", f"companies/{corpid}/members/{userid}/authorize", visit))


_JSON = {"Content-Type": "application/json"}


@contextmanager
def start_sandbox(
    *, seed: object = None, arguments: tuple[str, ...] = (), env: dict[str, str] | None = None, folder: Path = ROOT
) -> Iterator[SandboxHandle]:
    """Run `python -m wecom_sandbox` on a free port of 127.0.0.1 while the block runs. `env`: added variables."""
    with tempfile.TemporaryDirectory() as scratch, requests.Session() as session:
        session.trust_env = False
        command = [sys.executable, "-m", "wecom_sandbox", "--port", "0", *arguments]
        if seed is not None:
            path = Path(scratch) / "seed.json"
            path.write_text(json.dumps(seed), encoding="utf-8")
            command += ["--seed", str(path)]
        process = subprocess.Popen(  # noqa: S603  # our own command
            command,
            cwd=folder,
            env={**os.environ, "ENVIRONMENT": "test", **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield SandboxHandle(_address(process), session, process.pid)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Ask it to end; after _STOP_SECONDS, as with thousands of open connections, it is not asked any more."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    """From the line that the command prints when it listens."""
    line = process.stdout.readline() if process.stdout is not None else ""
    if "http://" not in line:
        raise RuntimeError(f"the sandbox did not start: {line!r}, exit code {process.poll()}")
    return line.split()[-1].rstrip("/")


def company(**changes: object) -> dict[str, Any]:
    """An invented company: departments 1 > 2 > 3 and 4; one app that sees 2 and below."""
    return {
        "corpid": CORPID,
        "name": "北山制造",
        "contacts_secret": "sandbox-secret-of-contacts",
        "departments": [
            {"id": 1, "name": "北山制造"},
            {"id": 2, "name": "销售部", "parentid": 1, "order": 10},
            {"id": 3, "name": "华东区", "parentid": 2},
            {"id": 4, "name": "财务部", "parentid": 1},
        ],
        "members": [
            {"userid": "LiLei", "name": "李雷", "department": [2], "position": "经理", "mobile": "13000000001"},
            {"userid": "hanmeimei", "name": "韩梅梅", "department": [3, 4], "email": "han@example.com"},
            {"userid": "jim", "name": "Jim", "department": [4]},
        ],
        "tags": [{"tagid": 1, "tagname": "值班", "userids": ["LiLei"], "partyids": [3]}],
        "apps": [
            {
                "agentid": AGENTID,
                "name": "观远BI",
                "secret": SECRET,
                "home_url": "http://localhost:3001/",
                "trusted_domain": "localhost:3001",
                "scope": {"partyids": [2]},
            }
        ],
        **changes,
    }
