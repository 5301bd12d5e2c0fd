"""The API without a server: a world of its own, called as an app or the directory-sync assistant calls it."""

import json
from dataclasses import dataclass, field
from typing import Any

from wecom_sandbox.api import call
from wecom_sandbox.api.call import ENDPOINTS, OPEN_ENDPOINTS, Request
from wecom_sandbox.http.envelope import Reply
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import App, Company, World

from tests.sandbox_process import AGENTID, CORPID, SECRET, company

CONTACTS = "sandbox-secret-of-contacts"
TEXT: dict[str, Any] = {"touser": "lilei", "msgtype": "text", "agentid": AGENTID, "text": {"content": "hello"}}
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40
AMR = b"#!AMR\n" + (b"\x3c" + b"0" * 31) * 50
MP4 = b"\x00\x00\x00\x18ftypmp42" + b"0" * 20
MENU: dict[str, Any] = {
    "button": [
        {"type": "view", "name": "首页", "url": "https://portal.example.com/m"},
        {"name": "更多", "sub_button": [{"type": "click", "name": "帮助", "key": "HELP"}]},
    ]
}


def first_world() -> World:
    world = World()
    administration.load_seed(world, {"companies": [company(robots=[{"key": "robot-key", "name": "日报"}])]})
    return world


@dataclass
class DirectApi:
    """Calls with the token of `secret`, by default the app's."""

    secret: str = SECRET
    world: World = field(default_factory=first_world)

    def reply(
        self,
        name: str,
        sent: object = None,
        *,
        method: str = "",
        headers: dict[str, str] | None = None,
        **query: object,
    ) -> Reply:
        """Call the API. `sent` is the query of a GET or the body of a POST; bytes go out as they are."""
        method = method or (ENDPOINTS.get(name) or OPEN_ENDPOINTS[name]).methods[0]
        if name in ENDPOINTS and "access_token" not in query:
            query["access_token"] = self.token()
        body = sent if isinstance(sent, bytes) else b""
        if method == "GET" and isinstance(sent, dict):
            query |= sent
        elif not body and sent is not None:
            body = json.dumps(sent).encode()
        texts = {key: str(value) for key, value in query.items()}
        return call.answer(
            self.world, name, Request(method, f"/cgi-bin/{name}", texts, body, "127.0.0.1", **(headers or {}))
        )

    def __call__(self, name: str, sent: object = None, **query: Any) -> dict[str, Any]:
        return dict(json.loads(self.reply(name, sent, **query).body))

    def errcode(self, name: str, sent: object = None, **query: Any) -> int:
        return self.reply(name, sent, **query).errcode

    def token(self) -> str:
        request = {"corpid": CORPID, "corpsecret": self.secret}
        answer = call.answer(self.world, "gettoken", Request("GET", "/cgi-bin/gettoken", request, b"", "127.0.0.1"))
        return str(json.loads(answer.body)["access_token"])

    def send(self, touser: str = "lilei", **values: object) -> dict[str, Any]:
        """Call message/send, with a text unless `values` say otherwise."""
        return self("message/send", {**TEXT, "touser": touser, **values})

    def upload(self, kind: str, body: bytes, name: str = "a.bin", path: str = "media/upload") -> dict[str, Any]:
        head = f'--B\r\nContent-Disposition: form-data; name="media"; filename="{name}"\r\n\r\n'.encode()
        form = head + body + b"\r\n--B--\r\n"
        return self(path, form, type=kind, headers={"content_type": "multipart/form-data; boundary=B"})

    @property
    def company(self) -> Company:
        return self.world.companies[CORPID]

    @property
    def app(self) -> App:
        return self.company.apps[AGENTID]

    def change(self, kind: str, *rows: dict[str, object]) -> None:
        """Put rows of departments, members, tags or apps, as the control interface does."""
        put = getattr(administration, f"put_{kind}")
        put(self.world, self.company, list(rows))

    def change_app(self, **values: object) -> None:
        self.change("apps", {"agentid": AGENTID, **values})

    def advance(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    def messages(self, userid: str) -> list[dict[str, Any]]:
        """Return what is on a member's phone, oldest first."""
        return [one.as_json(userid) for one in self.world.mail.inbox(CORPID, userid)]

    def receivers(self) -> list[list[str]]:
        """Return the receivers of every message so far."""
        return [list(one.receivers) for one in self.world.mail.messages.values()]
