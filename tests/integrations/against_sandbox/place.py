"""The sandbox's company of these tests, and our clients, which call it over real HTTP.

Two engineers read one contract, one for the client and one for the sandbox. Where they differ, the contract decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from integrations.clients.transport import open_session
from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Content, Payload, build_text_content, encode_body
from integrations.clients.wecom.calls import Timeouts, Wire
from integrations.clients.wecom.cards import Button, Head, build_button_interaction, build_text_notice
from integrations.clients.wecom.client import RobotClient, SendResult, WeComClient
from integrations.clients.wecom.tokens import TrialTokens
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

# AGENTID sees 销售部 and below. WHOLE sees everybody, is older than 2022-06-20 and is bound to a mini-program.
WHOLE, WHOLE_SECRET, MINI_PROGRAM = 1000003, "sandbox-secret-of-app-1000003", "wx0000000000000001"
CONTACTS_SECRET = "sandbox-secret-of-contacts"
ROBOT_KEY = "sandbox-robot-key-0001"
CALLER_IP = "127.0.0.1"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 32
# Long enough for a busy machine; a test that waits for it uses a shorter one.
PATIENT = Timeouts(connect_seconds=5, total_seconds=20, transfer_seconds=20)


def seed() -> dict[str, Any]:
    """Return the company of tests/sandbox_process.py with a second app and a robot."""
    whole = {
        "agentid": WHOLE,
        "name": "全员",
        "secret": WHOLE_SECRET,
        "trusted_domain": "portal.example.com",
        "scope": {"partyids": [1]},
        "created_after_2022_06_20": False,
        "mini_program_appid": MINI_PROGRAM,
    }
    values = company(robots=[{"key": ROBOT_KEY, "name": "日报"}])
    return {"companies": [{**values, "apps": [*values["apps"], whole]}]}


@dataclass
class Place:
    """A freshly seeded sandbox and the clients of its company."""

    sandbox: SandboxHandle

    def __post_init__(self) -> None:
        self.app = self.client()
        self.whole = self.client(agentid=WHOLE, secret=WHOLE_SECRET)
        self.contacts = self.client(agentid=None, secret=CONTACTS_SECRET)
        self.robot = self.robot_client()

    def client(
        self,
        *,
        corpid: str = CORPID,
        agentid: int | None = AGENTID,
        secret: str = SECRET,
    ) -> WeComClient:
        """Make a client with a token store of its own."""
        tokens = TrialTokens()
        return WeComClient(corpid=corpid, agentid=agentid, secret=secret, token_store=tokens, wire=self.wire())

    def robot_client(self, key: str = ROBOT_KEY) -> RobotClient:
        return RobotClient(key=key, wire=self.wire())

    def wire(self) -> Wire:
        return Wire(base_url=self.sandbox.base_url, session=open_session(), timeouts=PATIENT)

    def app_control(self, agentid: int = AGENTID, **changes: object) -> None:
        """Change an app as an administrator does in WeCom's console."""
        self.sandbox.control("PATCH", f"companies/{CORPID}/apps/{agentid}", changes)

    def phone(self, userid: str = "lilei") -> list[dict[str, Any]]:
        """Return what is on a member's phone, oldest first."""
        return self.sandbox.messages(CORPID, userid)

    def all_messages(self) -> list[dict[str, Any]]:
        """Return all messages of the company, with their receivers and the dropped ones."""
        return self.sandbox.list_rows(f"companies/{CORPID}/messages", "messages")

    def errcodes(self, endpoint: str) -> list[int]:
        """Return the sandbox's errcodes for one endpoint, in order of the calls."""
        return [call["errcode"] for call in self.sandbox.calls(endpoint)]

    def fetch(self, media_id: str) -> tuple[bytes, str]:
        """Fetch an uploaded file as another program of the company does. Return its bytes and content type."""
        address = f"{self.sandbox.base_url}/cgi-bin/"
        asked = {"corpid": CORPID, "corpsecret": SECRET}
        token = self.sandbox.session.get(f"{address}gettoken", params=asked, timeout=60).json()["access_token"]
        params = {"access_token": token, "media_id": media_id}
        answer = self.sandbox.session.get(f"{address}media/get", params=params, timeout=60)
        return answer.content, answer.headers["Content-Type"]

    def code(self, userid: str = "lilei", **visit: object) -> str:
        """Pass the app's authorise page as a person. Return the code."""
        visit = {"redirect_uri": "http://localhost:3001/login", "agentid": str(AGENTID), **visit}
        return self.sandbox.authorize(CORPID, userid, **visit)["code"]


BOTH = ("LiLei", "hanmeimei")
LINK = "https://portal.example.com/m/7"
DONE = build_text_notice(Head(LINK, "已处理"))


def text(content: str = "营收 1.2 亿", to: Sequence[str] = BOTH) -> bytes:
    return encode_body(builders.build_app_message(agentid=AGENTID, userids=to, content=build_text_content(content)))


def sent(at: Place, content: Content, to: Sequence[str] = BOTH) -> SendResult:
    """Send a content by the app."""
    return at.app.message_send(encode_body(builders.build_app_message(agentid=AGENTID, userids=to, content=content)))


def leave_card(task_id: str = "leave-7") -> Content:
    return build_button_interaction(
        Head(LINK, "请假申请", "韩梅梅", task_id=task_id),
        buttons=[Button("同意", key="approve"), Button("驳回", key="reject", style=2)],
    )


def update(response_code: str, agentid: int = AGENTID) -> Payload:
    """Make the payload that replaces a card by DONE."""
    return builders.build_card_update(agentid=agentid, response_code=response_code, card=DONE)
