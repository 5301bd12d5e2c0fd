"""The sandbox in this suite: the fixtures of wecom_sandbox.pytest_plugin with a requests session.

docs/en/sandbox.md documents the seed's format.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from wecom_sandbox.testing import Sandbox, run_sandbox

ROOT = Path(__file__).resolve().parent.parent
CORPID, AGENTID, SECRET = "ww0000000000000001", 1000002, "sandbox-secret-of-app-1000002"


@dataclass(frozen=True)
class SandboxHandle(Sandbox):
    """A running sandbox. `session` is one browser: it keeps cookies."""

    session: requests.Session

    @property
    def base_url(self) -> str:
        return self.url

    def messages(self, corpid: str, userid: str) -> list[dict[str, Any]]:
        """Return what is on a member's phone, oldest first."""
        return self.person(userid, corpid).messages()

    def authorize(self, corpid: str, userid: str, **visit: object) -> dict[str, str]:
        """Pass the authorise page as this person: {"code", "url"}. `visit` needs redirect_uri."""
        return self.person(userid, corpid).authorize(**visit)


@contextmanager
def open_browser(sandbox: Sandbox) -> Iterator[SandboxHandle]:
    """Open a new browser for the sandbox while the block runs."""
    with requests.Session() as session:
        session.trust_env = False
        yield SandboxHandle(sandbox.url, sandbox.pid, session)


@contextmanager
def start_sandbox(
    *, seed: object = None, arguments: tuple[str, ...] = (), env: dict[str, str] | None = None, folder: Path = ROOT
) -> Iterator[SandboxHandle]:
    """Run another sandbox than the one that all tests share. Without `seed` it has no company."""
    values = {"ENVIRONMENT": "test", **(env or {})}
    with (
        run_sandbox(seed=seed or {"companies": []}, arguments=arguments, env=values, folder=folder) as sandbox,
        open_browser(sandbox) as handle,
    ):
        yield handle


def company(**changes: object) -> dict[str, Any]:
    """Make an invented company: departments 1 > 2 > 3 and 4, and one app that sees 2 and below."""
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
