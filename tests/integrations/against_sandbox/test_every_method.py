"""Public methods of both clients against the sandbox: each succeeds with exactly the contract's result."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Recipients, body_bytes, text_content
from integrations.clients.wecom.client import Agent, AgentChanges, Chat, MenuEntry, SendResult
from integrations.clients.wecom.contacts import Department, Identity, MemberPage, MemberRow, Tag, User
from integrations.clients.wecom.oauth import sign
from tests.integrations.against_sandbox.place import DONE, Place, leave_card, sent, text, update
from tests.sandbox_process import AGENTID, CORPID

LILEI = User(
    userid="LiLei",
    name="李雷",
    department_ids=(2,),
    main_department_id=2,
    is_leader_in=(False,),
    position="经理",
    status=1,
    is_enabled=True,
)
# Of 韩梅梅's departments (3 and 4) the app sees only the first, her main one.
HANMEIMEI = User(
    userid="hanmeimei",
    name="韩梅梅",
    department_ids=(3,),
    main_department_id=3,
    is_leader_in=(False,),
    status=1,
    is_enabled=True,
)
SALES, EAST = Department(2, 1, "销售部", order=10), Department(3, 2, "华东区")
ROWS = (MemberRow("LiLei", 2), MemberRow("hanmeimei", 3), MemberRow("hanmeimei", 4), MemberRow("jim", 4))
PAGE = {"type": "view", "name": "首页", "url": "https://portal.example.com/m"}


@pytest.fixture
def at(place: Place) -> Iterator[Place]:
    """The place, which refuses no call."""
    yield place
    assert {one["errcode"] for one in place.sandbox.calls()} == {0}


def test_sign_in_and_members(at: Place) -> None:
    assert at.app.auth_getuserinfo(at.code("jim")) == Identity("jim")
    assert at.app.user_get("LILEI") == LILEI
    assert at.app.user_list(2) == (LILEI,)
    assert at.app.user_list(3) == (HANMEIMEI,)
    assert at.app.user_simplelist(3) == (User("hanmeimei", "韩梅梅", (3,)),)
    assert at.app.tag_get(1) == Tag("值班", (("LiLei", "李雷"),), (3,))
    first = at.contacts.user_list_id(limit=3)
    assert first.rows == ROWS[:3]
    assert at.contacts.user_list_id(first.next_cursor, limit=3) == MemberPage(ROWS[3:], "")
    assert [page.rows for page in at.contacts.user_list_id_pages(limit=3)] == [ROWS[:3], ROWS[3:]]


def test_departments(at: Place) -> None:
    assert at.app.department_list() == (SALES, EAST)
    assert at.app.department_list(3) == (EAST,)
    assert at.whole.department_list(1)[0] == Department(1, 0, "北山制造")
    assert at.app.department_simplelist() == (Department(2, 1, order=10), Department(3, 2))
    assert at.contacts.department_simplelist(4) == (Department(4, 1),)
    assert at.app.department_get(2) == SALES


def test_the_application_and_its_menu(at: Place) -> None:
    home_url = "http://localhost:3001/"
    agent = Agent(AGENTID, "观远BI", allowed_department_ids=(2,), redirect_domain="localhost:3001", home_url=home_url)
    assert at.app.agent_get() == agent
    at.app.renew_token()
    assert at.errcodes("gettoken") == [0, 0]
    home_url = "https://localhost:3001/m"
    at.app.agent_set(AgentChanges("门户", "内部门户", redirect_domain="localhost:3001", home_url=home_url))
    shown = at.app.agent_get()
    assert (shown.name, shown.description, shown.home_url) == ("门户", "内部门户", home_url)

    at.app.menu_create([MenuEntry("首页", PAGE["url"]), MenuEntry("日报", PAGE["url"])])

    assert at.app.menu_get() == {"button": [PAGE, {**PAGE, "name": "日报"}]}
    press = f"companies/{CORPID}/members/lilei/menu"
    assert at.sandbox.control("POST", press, {"agentid": AGENTID, "path": [0]}) == {"url": PAGE["url"]}


def test_addresses_and_tickets(at: Place) -> None:
    assert at.app.getcallbackip() == ("192.0.2.1", "192.0.2.0/28")
    assert at.contacts.get_api_domain_ip() == ("198.51.100.1", "198.51.100.2")
    assert at.app.get_jsapi_ticket().expires_in == 7200
    ticket, url = at.app.jsapi_ticket(), "http://localhost:3001/home?from=wecom#/top"
    assert at.app.jsapi_ticket() == ticket
    assert at.errcodes("get_jsapi_ticket") == [0, 0]

    signed = sign(ticket=ticket, nonce="Wm3WZYTPz0wzccnW", timestamp=1764000004, url=url)

    values = {"signature": signed.signature, "noncestr": signed.nonce, "timestamp": str(signed.timestamp), "url": url}
    path = f"companies/{CORPID}/apps/{AGENTID}/signature"
    assert at.sandbox.control("POST", path, values)["ticket"] == "config"


def test_a_message_is_sent_and_taken_back(at: Place) -> None:
    said = '你好\n<a href="https://example.com">看</a>'

    result = at.app.message_send(text(said, Recipients(["LiLei", "hanmeimei", "ghost", "JIM"])))

    assert result == SendResult(result.msgid, invalid_userids=("ghost", "jim"))
    assert [one["receivers"] for one in at.all_messages()] == [["lilei", "hanmeimei"]]
    (shown,) = at.phone("lilei")
    assert (shown["msgid"], shown["text"]) == (result.msgid, {"content": said})
    assert at.phone("jim") == []
    second = at.app.message_send(text("二"))
    at.app.message_recall(result.msgid)
    assert [(one["msgid"], one["recalled"]) for one in at.phone()] == [(result.msgid, True), (second.msgid, False)]


def test_a_card_is_changed_by_the_code_of_its_answer(at: Place) -> None:
    result = sent(at, leave_card())

    assert at.app.message_update_template_card(update(result.response_code)) == ()

    assert [at.phone(userid)[0]["card"] for userid in ("lilei", "hanmeimei")] == [DONE.fields] * 2


def test_a_group_chat(at: Place) -> None:
    chat = at.whole.appchat_create(userids=["LiLei", "jim"], name="日报群", owner="jim", chatid="Daily7")
    assert at.whole.appchat_get(chat) == Chat("Daily7", "日报群", "jim", ("LiLei", "jim"))
    assert len(at.whole.appchat_create(userids=["jim", "lilei"])) == 32
    at.whole.appchat_update(chat, name="周报群", owner="hanmeimei", add=["HanMeiMei"], remove=["jim"])
    assert at.whole.appchat_get(chat) == Chat(chat, "周报群", "hanmeimei", ("LiLei", "hanmeimei"))

    at.whole.appchat_send(body_bytes(builders.chat_message(chatid=chat, content=text_content("日报"))))

    (shown,) = at.phone("lilei")
    assert (shown["chatid"], shown["text"]) == (chat, {"content": "日报"})
    assert at.phone("jim") == []


def test_files_and_a_robot(at: Place) -> None:
    media_id = at.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv", media_type="text/csv")
    assert at.fetch(media_id) == (b"1,2,3\n", "text/csv")
    media_id = at.robot.webhook_upload_media(b"1,2,3\n", file_name="日报.csv", media_type="text/csv")
    assert at.fetch(media_id) == (b"1,2,3\n", "text/csv")
    body = body_bytes(builders.robot_text("日报", mentioned_userids=["@all"], mentioned_mobiles=["13000000001"]))

    assert at.robot.webhook_send(body) == SendResult()

    (shown,) = at.all_messages()
    mentioned = {"mentioned_list": ["@all"], "mentioned_mobile_list": ["13000000001"]}
    assert (shown["msgtype"], shown["text"]) == ("text", {"content": "日报", **mentioned})
