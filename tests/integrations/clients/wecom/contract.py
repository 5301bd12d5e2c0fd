"""One case per method of the clients: how it is called, what must go out, what must come back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from integrations.clients.wecom.api import agent as agent_api
from integrations.clients.wecom.api import contacts as contacts_api
from integrations.clients.wecom.api import media as media_api
from integrations.clients.wecom.api import messages as messages_api
from integrations.clients.wecom.api.agent import AgentChanges
from integrations.clients.wecom.client import RobotClient, WeComClient
from integrations.clients.wecom.messages import builders, robots
from integrations.clients.wecom.messages.builders import text_content
from integrations.clients.wecom.messages.limits import body_bytes
from integrations.clients.wecom.messages.menus import Menu, MenuButton
from integrations.clients.wecom.token_store import FetchedToken, InMemoryTokenStore, TokenStore
from integrations.clients.wecom.transport import Timeouts, open_session
from tests.wecom import AGENTID, API, CORPID, ROBOT_KEY, SECRET

TEXT = builders.text_message(agentid=AGENTID, to=builders.Recipients(["lilei"]), content="营收 1.2 亿")
CHAT_TEXT = builders.chat_message(chatid="simchat0001", content=text_content("日报"))
ROBOT_TEXT = robots.robot_text("日报")
UPDATE = builders.card_update(agentid=AGENTID, response_code="sim-rc-0001", userids=["lilei"], replace_name="已处理")
LILEI = contacts_api.User(
    userid="lilei",
    name="李雷",
    department_ids=(2, 5),
    main_department_id=2,
    is_leader_in=(True, False),
    direct_leaders=("hanmeimei",),
    position="工程师",
    alias="Lei",
    status=1,
    is_enabled=True,
)
AGENT = agent_api.Agent(
    agentid=AGENTID,
    name="门户",
    description="内部门户",
    square_logo_url="https://example.invalid/logo",
    allowed_userids=("lilei",),
    allowed_department_ids=(2, 5),
    allowed_tag_ids=(1,),
    redirect_domain="portal.example.com",
    home_url="https://portal.example.com/m",
)
RESEARCH = contacts_api.Department(2, 1, "研发", "R&D", ("lilei",), 10)


@dataclass(frozen=True)
class Case:
    """`endpoint`: also the method's name and the fixture's. `is_repeatable`: an unclear failure may be tried again."""

    endpoint: str
    call: Callable[[Any], Any]
    expected: Any
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    is_repeatable: bool = True
    is_robot: bool = False
    # What the answer is where it is no JSON, and the header that says so.
    file: tuple[bytes, str] | None = None


CASES = (
    Case(
        "auth_getuserinfo",
        lambda c: c.auth_getuserinfo("CODE/+1"),
        contacts_api.Identity("lilei", user_ticket="sim-ticket"),
        {"code": "CODE/+1"},
    ),
    Case(
        "user_getuserinfo",
        lambda c: c.user_getuserinfo("CODE1"),
        contacts_api.Identity("lilei", user_ticket="sim-ticket"),
        {"code": "CODE1"},
    ),
    Case(
        "auth_getuserdetail",
        lambda c: c.auth_getuserdetail("sim-ticket"),
        contacts_api.UserDetail("lilei", gender="1", avatar="https://example.invalid/avatar/0", mobile="13800000000"),
        body={"user_ticket": "sim-ticket"},
    ),
    Case("user_get", lambda c: c.user_get("lilei"), LILEI, {"userid": "lilei"}),
    Case(
        "user_simplelist",
        lambda c: c.user_simplelist(2),
        (contacts_api.User("lilei", "李雷", (2,)), contacts_api.User("hanmeimei", "韩梅梅", (2, 5))),
        {"department_id": "2"},
    ),
    Case("user_list", lambda c: c.user_list(2), (LILEI,), {"department_id": "2"}),
    Case(
        "user_list_id",
        lambda c: c.user_list_id(),
        contacts_api.MemberPage((contacts_api.MemberRow("lilei", 2), contacts_api.MemberRow("lilei", 5)), ""),
        body={"limit": 10000},
    ),
    Case(
        "department_list",
        lambda c: c.department_list(),
        (RESEARCH, contacts_api.Department(5, 2, "测试", order=40)),
    ),
    Case(
        "department_simplelist",
        lambda c: c.department_simplelist(2),
        (contacts_api.Department(2, 1, order=10), contacts_api.Department(5, 2, order=40)),
        {"id": "2"},
    ),
    Case("department_get", lambda c: c.department_get(2), RESEARCH, {"id": "2"}),
    Case("user_getuserid", lambda c: c.user_getuserid("13800000000"), "lilei", body={"mobile": "13800000000"}),
    Case(
        "user_get_userid_by_email",
        lambda c: c.user_get_userid_by_email("lilei@example.com", 2),
        "lilei",
        body={"email": "lilei@example.com", "email_type": 2},
    ),
    Case("tag_get", lambda c: c.tag_get(1), contacts_api.Tag("负责人", (("lilei", "李雷"),), (2,)), {"tagid": "1"}),
    Case("agent_get", lambda c: c.agent_get(), AGENT, {"agentid": str(AGENTID)}),
    Case(
        "agent_list",
        lambda c: c.agent_list(),
        (agent_api.Agent(AGENTID, "门户", square_logo_url="https://example.invalid/logo"),),
    ),
    Case(
        "agent_set",
        lambda c: c.agent_set(AgentChanges(name="门户", reports_enter=False)),
        None,
        body={"agentid": AGENTID, "name": "门户", "isreportenter": 0},
    ),
    Case(
        "menu_create",
        lambda c: c.menu_create(Menu([MenuButton("首页", "view", url="https://portal.example.com/m")])),
        None,
        {"agentid": str(AGENTID)},
        {"button": [{"type": "view", "name": "首页", "url": "https://portal.example.com/m"}]},
    ),
    Case(
        "menu_get",
        lambda c: c.menu_get(),
        {"button": [{"type": "view", "name": "首页", "url": "https://portal.example.com/m"}]},
        {"agentid": str(AGENTID)},
    ),
    Case("menu_delete", lambda c: c.menu_delete(), None, {"agentid": str(AGENTID)}),
    Case("getcallbackip", lambda c: c.getcallbackip(), ("203.0.113.7", "203.0.113.0/24")),
    Case("get_api_domain_ip", lambda c: c.get_api_domain_ip(), ("203.0.113.20",)),
    Case("get_jsapi_ticket", lambda c: c.get_jsapi_ticket(), FetchedToken("sim-jsapi-ticket-0001", 7200)),
    Case("ticket_get", lambda c: c.ticket_get(), FetchedToken("sim-agent-ticket-0001", 7200), {"type": "agent_config"}),
    Case(
        "message_send",
        lambda c: c.message_send(body_bytes(TEXT)),
        messages_api.SendResult("sim-msg-0001"),
        body=TEXT,
        is_repeatable=False,
    ),
    Case(
        "message_update_template_card",
        lambda c: c.message_update_template_card(UPDATE),
        ("ghost",),
        body=UPDATE,
        is_repeatable=False,
    ),
    Case("message_recall", lambda c: c.message_recall("sim-msg-0001"), None, body={"msgid": "sim-msg-0001"}),
    Case(
        "message_get_statistics",
        lambda c: c.message_get_statistics("yesterday"),
        (messages_api.AgentCount(AGENTID, "门户", 101),),
        body={"time_type": 1},
    ),
    Case(
        "appchat_create",
        lambda c: c.appchat_create(userids=["lilei", "hanmeimei"], name="日报群", owner="lilei"),
        "simchat0001",
        body={"name": "日报群", "owner": "lilei", "userlist": ["lilei", "hanmeimei"]},
        is_repeatable=False,
    ),
    Case(
        "appchat_update",
        lambda c: c.appchat_update("simchat0001", add=["xiaozhang"], remove=["lilei"]),
        None,
        body={"chatid": "simchat0001", "add_user_list": ["xiaozhang"], "del_user_list": ["lilei"]},
    ),
    Case(
        "appchat_get",
        lambda c: c.appchat_get("simchat0001"),
        messages_api.Chat("simchat0001", "日报群", "lilei", ("lilei", "hanmeimei")),
        {"chatid": "simchat0001"},
    ),
    Case("appchat_send", lambda c: c.appchat_send(body_bytes(CHAT_TEXT)), None, body=CHAT_TEXT, is_repeatable=False),
    Case(
        "media_upload",
        lambda c: c.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv", media_type="text/csv"),
        media_api.Media("sim-media-0001", 1764000000),
        {"type": "file"},
    ),
    Case(
        "media_uploadimg",
        lambda c: c.media_uploadimg(b"\x89PNG....", file_name="图.png"),
        "https://example.invalid/picture/0",
    ),
    Case(
        "media_get",
        lambda c: c.media_get("sim-media-0001"),
        media_api.MediaFile(b"1,2,3\n", "text/csv", "daily.csv"),
        {"media_id": "sim-media-0001"},
        file=(b"1,2,3\n", 'attachment; filename="daily.csv"'),
    ),
    Case(
        "media_get_jssdk",
        lambda c: c.media_get_jssdk("sim-media-0004"),
        media_api.MediaFile(b"speex!", "text/csv", "voice.speex"),
        {"media_id": "sim-media-0004"},
        file=(b"speex!", "attachment; filename=voice.speex"),
    ),
    Case(
        "webhook_send",
        lambda c: c.webhook_send(body_bytes(ROBOT_TEXT)),
        messages_api.SendResult(),
        body=ROBOT_TEXT,
        is_repeatable=False,
        is_robot=True,
    ),
    Case(
        "webhook_upload_media",
        lambda c: c.webhook_upload_media(b"1,2,3\n", kind="file", file_name="日报.csv"),
        media_api.Media("sim-media-0003", 1764000000),
        {"type": "file"},
        is_robot=True,
    ),
)
# These build on the methods above, or on the token alone, and have tests of their own.
COMPOSED = {"user_list_id_pages", "renew_token", "jsapi_ticket", "agent_ticket"}


def public_methods() -> set[str]:
    """Every public method of the two clients."""
    return {
        name
        for cls in (WeComClient, RobotClient)
        for name, _method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


def open_client(
    case: Case | None = None,
    *,
    base_url: str = API,
    token_store: TokenStore | None = None,
    timeouts: Timeouts | None = None,
    agentid: int | None = AGENTID,
) -> WeComClient | RobotClient:
    """The client that a case needs."""
    timeouts = timeouts or Timeouts(connect_seconds=2, total_seconds=5, transfer_seconds=5)
    if case is not None and case.is_robot:
        return RobotClient(key=ROBOT_KEY, base_url=base_url, session=open_session(), timeouts=timeouts)
    return WeComClient(
        corpid=CORPID,
        agentid=agentid,
        secret=SECRET,
        base_url=base_url,
        session=open_session(),
        token_store=token_store or InMemoryTokenStore(),
        timeouts=timeouts,
    )
