"""The contract of the clients' methods: for each the call, the request that must go out, and the result."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from integrations.clients.transport import open_session
from integrations.clients.wecom import builders
from integrations.clients.wecom import client as api
from integrations.clients.wecom import contacts as contacts_api
from integrations.clients.wecom.builders import build_text_content, encode_body
from integrations.clients.wecom.calls import Timeouts, Wire
from integrations.clients.wecom.cards import Head, build_text_notice
from integrations.clients.wecom.client import RobotClient, WeComClient
from integrations.clients.wecom.tokens import FetchedToken, TokenStore, TrialTokens
from tests.wecom import AGENTID, API, CORPID, ROBOT_KEY, SECRET

TEXT = builders.build_app_message(agentid=AGENTID, userids=["lilei"], content=build_text_content("营收 1.2 亿"))
CHAT_TEXT = builders.build_chat_message(chatid="simchat0001", content=build_text_content("日报"))
ROBOT_TEXT = builders.build_robot_text("日报")
UPDATE = builders.build_card_update(
    agentid=AGENTID, response_code="sim-rc-0001", card=build_text_notice(Head("https://portal.example.com/m", "已处理"))
)
LILEI = contacts_api.User(
    userid="lilei",
    name="李雷",
    department_ids=(2, 5),
    main_department_id=2,
    is_leader_in=(True, False),
    position="工程师",
    alias="Lei",
    status=1,
    is_enabled=True,
)
AGENT = api.Agent(
    agentid=AGENTID,
    name="门户",
    allowed_userids=("lilei",),
    allowed_department_ids=(2, 5),
    allowed_tag_ids=(1,),
    redirect_domain="portal.example.com",
    home_url="https://portal.example.com/m",
)
RESEARCH = contacts_api.Department(2, 1, "研发", 10)


@dataclass(frozen=True)
class Case:
    """A call by the name of its endpoint, method and fixture. `is_repeatable`: an unclear failure may be retried."""

    endpoint: str
    call: Callable[[Any], Any]
    expected: Any
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    is_repeatable: bool = True
    is_robot: bool = False


CASES = (
    Case(
        "auth_getuserinfo",
        lambda c: c.auth_getuserinfo("CODE/+1"),
        contacts_api.Identity("lilei"),
        {"code": "CODE/+1"},
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
        lambda c: c.department_simplelist(),
        (contacts_api.Department(2, 1, order=10), contacts_api.Department(5, 2, order=40)),
    ),
    Case("department_get", lambda c: c.department_get(2), RESEARCH, {"id": "2"}),
    Case("tag_get", lambda c: c.tag_get(1), contacts_api.Tag("负责人", (("lilei", "李雷"),), (2,)), {"tagid": "1"}),
    Case("agent_get", lambda c: c.agent_get(), AGENT, {"agentid": str(AGENTID)}),
    Case(
        "agent_set",
        lambda c: c.agent_set(home_url="https://portal.example.com/m"),
        None,
        body={"agentid": AGENTID, "home_url": "https://portal.example.com/m"},
    ),
    Case(
        "menu_create",
        lambda c: c.menu_create([("首页", "https://portal.example.com/m")]),
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
    Case("getcallbackip", lambda c: c.getcallbackip(), ("203.0.113.7", "203.0.113.0/24")),
    Case("get_jsapi_ticket", lambda c: c.get_jsapi_ticket(), FetchedToken("sim-jsapi-ticket-0001", 7200)),
    Case(
        "message_send",
        lambda c: c.message_send(encode_body(TEXT)),
        api.SendResult("sim-msg-0001"),
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
        api.Chat("simchat0001", "日报群", "lilei", ("lilei", "hanmeimei")),
        {"chatid": "simchat0001"},
    ),
    Case("appchat_send", lambda c: c.appchat_send(encode_body(CHAT_TEXT)), None, body=CHAT_TEXT, is_repeatable=False),
    Case(
        "media_upload",
        lambda c: c.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv", media_type="text/csv"),
        "sim-media-0001",
        {"type": "file"},
    ),
    Case(
        "webhook_send",
        lambda c: c.webhook_send(encode_body(ROBOT_TEXT)),
        api.SendResult(),
        body=ROBOT_TEXT,
        is_repeatable=False,
        is_robot=True,
    ),
    Case(
        "webhook_upload_media",
        lambda c: c.webhook_upload_media(b"1,2,3\n", file_name="日报.csv"),
        "sim-media-0003",
        {"type": "file"},
        is_robot=True,
    ),
)
# A reading method, a sending one, and a robot's.
KINDS = tuple(case for case in CASES if case.endpoint in ("agent_get", "message_send", "webhook_send"))
# These build on the methods above, or on the token alone, and have tests of their own.
COMPOSED = {"user_list_id_pages", "renew_token", "find_jsapi_ticket"}


def public_methods() -> set[str]:
    """Return the names of every public method of the two clients."""
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
    token_store: TokenStore | TrialTokens | None = None,
    timeouts: Timeouts | None = None,
    agentid: int | None = AGENTID,
) -> WeComClient | RobotClient:
    """Open the client that a case needs."""
    timeouts = timeouts or Timeouts(connect_seconds=2, total_seconds=5, transfer_seconds=5)
    wire = Wire(session=open_session(), base_url=base_url, timeouts=timeouts)
    if case is not None and case.is_robot:
        return RobotClient(key=ROBOT_KEY, wire=wire)
    tokens = token_store or TrialTokens()
    return WeComClient(corpid=CORPID, agentid=agentid, secret=SECRET, token_store=tokens, wire=wire)
