"""The sandbox, freshly seeded for each test; calls of its API; receivers of its callbacks."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from wecom_sandbox.http.hosts import WECOM_HOSTS
from wecom_sandbox.testing import Sandbox

from tests.e2e.conftest import browser_type_launch_args  # noqa: F401  # a fixture: which Chromium is started
from tests.sandbox.direct import CONTACTS, DirectApi
from tests.sandbox.receiver import Receiver, listening
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

HTTPS_PORT = 443


@pytest.fixture(scope="session")
def ca_file(running_sandbox: SandboxHandle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CA certificate that a TLS client of the sandbox must trust."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_text(running_sandbox.control("GET", "ca")["certificate"], encoding="utf-8")
    return path


@pytest.fixture
def wecom_hosts(sandbox: SandboxHandle, tls_port: int, ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> SandboxHandle:
    """The sandbox under WeCom's own addresses for programs in this process, by a resolver rule and its trusted CA."""
    look_up = socket.getaddrinfo

    def ruled(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        led = host in WECOM_HOSTS and port == HTTPS_PORT
        return look_up("127.0.0.1" if led else host, tls_port if led else port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", ruled)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
    monkeypatch.setenv("NO_PROXY", "*")
    return sandbox


@pytest.fixture
def wecom_sandbox_seed() -> object:
    """The seed that the fixture `wecom_sandbox` of the sandbox's own plugin reads."""
    return {"companies": [company()]}


@pytest.fixture
def sandbox(wecom_sandbox: Sandbox, running_sandbox: SandboxHandle) -> SandboxHandle:
    """A freshly seeded sandbox, with an unused browser."""
    running_sandbox.session.cookies.clear()
    return running_sandbox


@dataclass
class Api:
    """Calls as an app makes them, with the token of `secret`."""

    sandbox: SandboxHandle
    corpid: str = CORPID
    secret: str = SECRET

    def raw(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send a request as it is. `path` comes without /cgi-bin/."""
        return self.sandbox.session.request(method, f"{self.sandbox.base_url}/cgi-bin/{path}", timeout=60, **kwargs)

    def token(self) -> str:
        answer = self.raw("GET", "gettoken", params={"corpid": self.corpid, "corpsecret": self.secret}).json()
        assert answer["errcode"] == 0, answer
        return str(answer["access_token"])

    def get(self, path: str, **query: object) -> dict[str, Any]:
        return dict(self.raw("GET", path, params={"access_token": self.token(), **query}).json())

    def post(self, path: str, document: object = None, **query: object) -> dict[str, Any]:
        """Post JSON; a body of bytes goes out as it is."""
        body = {"data": document} if isinstance(document, bytes) else {"json": document}
        return dict(self.raw("POST", path, params={"access_token": self.token(), **query}, **body).json())

    def send(self, touser: str = "lilei", **values: Any) -> dict[str, Any]:
        """Call message/send, with a text unless `values` say otherwise."""
        message: dict[str, object] = {"touser": touser, "msgtype": "text", "agentid": AGENTID}
        return self.post("message/send", message | ({} if "msgtype" in values else _TEXT) | values)


_TEXT = {"text": {"content": "hello"}}


@pytest.fixture
def api(sandbox: SandboxHandle) -> Api:
    return Api(sandbox)


@pytest.fixture
def direct() -> DirectApi:
    return DirectApi()


@pytest.fixture
def contacts(sandbox: SandboxHandle) -> Api:
    """Calls with the secret of the directory-sync assistant."""
    return Api(sandbox, secret=CONTACTS)


@pytest.fixture
def receiver(sandbox: SandboxHandle) -> Iterator[Receiver]:
    """The app's callback address."""
    with listening(CORPID) as found:
        sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"callback": found.callback})
        sandbox.control("PATCH", "settings", {"callback_pause_seconds": 0.02})
        yield found


@pytest.fixture
def directory_receiver(sandbox: SandboxHandle) -> Iterator[Receiver]:
    """The callback address of the directory-sync assistant."""
    with listening(CORPID) as found:
        sandbox.control("PATCH", f"companies/{CORPID}", {"contacts_callback": found.callback})
        yield found


def hold_phone(sandbox: SandboxHandle, userid: str) -> None:
    sandbox.session.get(f"{sandbox.base_url}/phone", params={"corpid": CORPID, "userid": userid}, timeout=60)


@pytest.fixture
def phone(sandbox: SandboxHandle) -> SandboxHandle:
    """A browser in which 李雷 holds the phone."""
    hold_phone(sandbox, "lilei")
    return sandbox
