"""Our clients against the sandbox: every method, every kind of message, and refusals that come from its state."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import starmap
from typing import Any

import pytest

from integrations.clients.errors import (
    BadRequestError,
    CodeRejectedError,
    ConfigurationError,
    IntegrationError,
    RecipientError,
)
from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Content, build_text_content, encode_body
from integrations.clients.wecom.client import Agent, Chat, SendResult
from integrations.clients.wecom.contacts import Department, Identity, MemberPage, MemberRow, Tag, User
from integrations.clients.wecom.oauth import sign_page
from tests.integrations.against_sandbox.place import (
    CALLER_IP,
    DONE,
    PNG,
    WHOLE,
    Place,
    leave_card,
    seed,
    sent,
    text,
    update,
)
from tests.integrations.clients.wecom.test_messages import CARDS
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

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
LILEI = replace(HANMEIMEI, userid="LiLei", name="李雷", department_ids=(2,), main_department_id=2, position="经理")
SALES, EAST = Department(2, 1, "销售部", order=10), Department(3, 2, "华东区")
ROWS = tuple(starmap(MemberRow, (("LiLei", 2), ("hanmeimei", 3), ("hanmeimei", 4), ("jim", 4))))
PAGE = {"type": "view", "name": "首页", "url": "https://portal.example.com/m"}


@pytest.fixture
def place(running_sandbox: SandboxHandle) -> Place:
    running_sandbox.load(seed())
    return Place(running_sandbox)


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
    assert at.contacts.department_simplelist()[-1] == Department(4, 1)
    assert at.app.department_get(2) == SALES


def test_the_application_and_its_menu(at: Place) -> None:
    home_url = "http://localhost:3001/"
    agent = Agent(AGENTID, "观远BI", allowed_department_ids=(2,), redirect_domain="localhost:3001", home_url=home_url)
    assert at.app.agent_get() == agent
    at.app.renew_token()
    assert at.errcodes("gettoken") == [0, 0]
    home_url = "https://localhost:3001/m"
    at.app.agent_set(redirect_domain="localhost:3001", home_url=home_url)
    assert at.app.agent_get().home_url == home_url

    at.app.menu_create([("首页", PAGE["url"]), ("日报", PAGE["url"])])

    assert at.app.menu_get() == {"button": [PAGE, {**PAGE, "name": "日报"}]}
    press = f"companies/{CORPID}/members/lilei/menu"
    assert at.sandbox.control("POST", press, {"agentid": AGENTID, "path": [0]}) == {"url": PAGE["url"]}


def test_addresses_and_tickets(at: Place) -> None:
    assert at.app.getcallbackip() == ("192.0.2.1", "192.0.2.0/28")
    assert at.app.get_jsapi_ticket().expires_in == 7200
    ticket, url = at.app.find_jsapi_ticket(), "http://localhost:3001/home?from=wecom#/top"
    assert at.app.find_jsapi_ticket() == ticket
    assert at.errcodes("get_jsapi_ticket") == [0, 0]

    signature = sign_page(ticket=ticket, nonce="Wm3WZYTPz0wzccnW", timestamp=1764000004, url=url)

    values = {"signature": signature, "noncestr": "Wm3WZYTPz0wzccnW", "timestamp": "1764000004", "url": url}
    path = f"companies/{CORPID}/apps/{AGENTID}/signature"
    assert at.sandbox.control("POST", path, values)["ticket"] == "config"


def test_a_message_is_sent_and_taken_back(at: Place) -> None:
    said = '你好\n<a href="https://example.com">看</a>'

    result = at.app.message_send(text(said, ["LiLei", "hanmeimei", "ghost", "JIM"]))

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

    at.whole.appchat_send(encode_body(builders.build_chat_message(chatid=chat, content=build_text_content("日报"))))

    (shown,) = at.phone("lilei")
    assert (shown["chatid"], shown["text"]) == (chat, {"content": "日报"})
    assert at.phone("jim") == []


def test_files_and_a_robot(at: Place) -> None:
    media_id = at.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv", media_type="text/csv")
    assert at.fetch(media_id) == (b"1,2,3\n", "text/csv")
    media_id = at.robot.webhook_upload_media(b"1,2,3\n", file_name="日报.csv", media_type="text/csv")
    assert at.fetch(media_id) == (b"1,2,3\n", "text/csv")

    body = encode_body(builders.build_robot_text("日报", mentioned_userids=["@all"], mentioned_mobiles=["13000000001"]))

    assert at.robot.webhook_send(body) == SendResult()

    (shown,) = at.all_messages()
    mentioned = {"mentioned_list": ["@all"], "mentioned_mobile_list": ["13000000001"]}
    assert (shown["msgtype"], shown["text"]) == ("text", {"content": "日报", **mentioned})


# As long as WeCom allows: one more byte would be cut or refused.
LONGEST_TITLE, LONGEST_DESCRIPTION = "题" * 42 + "ab", "述" * 170 + "ab"
LONGEST_TEXT = "文" * 682 + "ab"
LINK = "https://example.com/报表?a=1&b=" + "x" * 100
PICTURE = "https://example.com/1.png"
NEWS = builders.build_news_content(title=LONGEST_TITLE, description=LONGEST_DESCRIPTION, url=LINK, picture_url=PICTURE)


def uploaded(at: Place, kind: str) -> str:
    """Upload a file of this kind, with a Chinese name. Return its media_id."""
    body, name = {
        "image": (PNG, "图.png"),
        "file": (b"1,2,3\n", "日报.csv"),
    }[kind]
    return at.app.media_upload(body, kind=kind, file_name=name)  # type: ignore[arg-type]  # a kind of the table


Built = tuple[Content, dict[str, Any]]


def _news() -> Built:
    words = {"title": LONGEST_TITLE, "description": LONGEST_DESCRIPTION, "url": LINK, "picurl": PICTURE}
    return NEWS, {"articles": [{**words, "appid": "", "pagepath": ""}]}


def _textcard() -> Built:
    card = builders.build_textcard_content(
        title=LONGEST_TITLE, description=LONGEST_DESCRIPTION, url=LINK, button_text="查看详情"
    )
    return card, {"title": LONGEST_TITLE, "description": LONGEST_DESCRIPTION, "url": LINK, "btntxt": "查看详情"}


def _file(kind: builders.MediaKind, name: str) -> Callable[[Place], Built]:
    def build(at: Place) -> Built:
        media_id = uploaded(at, kind)
        return builders.build_media_content(kind, media_id), {"media_id": media_id, "filename": name}

    return build


def _card(card_type: str) -> Callable[[Place], Built]:
    return lambda _at: CARDS[card_type]


KINDS: dict[str, Callable[[Place], Built]] = {
    "text": lambda at: (builders.build_text_content(LONGEST_TEXT), {"content": LONGEST_TEXT}),
    "markdown": lambda at: (builders.build_markdown_content(LONGEST_TEXT), {"content": LONGEST_TEXT}),
    "image": _file("image", "图.png"),
    "file": _file("file", "日报.csv"),
    "textcard": lambda at: _textcard(),
    "news": lambda at: _news(),
    **{card_type: _card(card_type) for card_type in CARDS},
}


@pytest.mark.parametrize("msgtype", KINDS)
def test_each_kind_arrives_whole(place: Place, msgtype: str) -> None:
    content, shown = KINDS[msgtype](place)
    body = encode_body(builders.build_app_message(agentid=WHOLE, userids=["jim"], content=content))

    result = place.whole.message_send(body)

    assert result == SendResult(result.msgid, result.response_code)
    (message,) = place.phone("jim")
    assert (message["msgid"], message["msgtype"]) == (result.msgid, content.msgtype)
    assert message[content.msgtype] == (shown if msgtype not in CARDS else content.fields)


def test_each_kind_of_a_robot_arrives(place: Place) -> None:
    longest = "文" * 1365 + "a"
    sent_by_robot = [
        builders.build_robot_text(LONGEST_TEXT),
        builders.build_robot_message(builders.build_markdown_content(longest, builders.ROBOT_MARKDOWN_BYTES)),
        builders.build_robot_image(PNG),
        builders.build_robot_message(NEWS),
        builders.build_robot_message(
            builders.build_media_content("file", place.robot.webhook_upload_media(b"1,2,3\n", file_name="日报.csv"))
        ),
        builders.build_robot_message(DONE),
    ]
    for payload in sent_by_robot:
        assert place.robot.webhook_send(encode_body(payload)) == SendResult()

    arrived = place.all_messages()
    assert [one["msgtype"] for one in arrived] == ["text", "markdown", "image", "news", "file", "template_card"]
    assert [one[one["msgtype"]].get("content") for one in arrived[:2]] == [LONGEST_TEXT, longest]
    assert place.fetch(arrived[2]["image"]["media_id"])[0] == PNG
    assert [one[one["msgtype"]]["filename"] for one in arrived[4:5]] == ["日报.csv"]


def test_the_duplicate_check_goes_before_the_task_id_of_a_card(place: Place) -> None:
    """Let a repeat with the same bytes succeed, because it follows a send with an unclear outcome."""
    payload = builders.build_app_message(
        agentid=AGENTID, userids=["lilei"], content=leave_card(), drops_duplicates=True
    )
    assert place.app.message_send(encode_body(payload)).response_code
    assert place.app.message_send(encode_body(payload)) == SendResult()
    assert len(place.phone()) == 1


def refused(cls: type[IntegrationError], code: int, call: Callable[[], object]) -> Any:
    """Return the error of a refusal, which carries what an administrator needs."""
    with pytest.raises(IntegrationError) as caught:
        call()
    error = caught.value
    assert (type(error), error.code) == (cls, code), error
    assert error.caller_ip == CALLER_IP
    assert re.fullmatch(r"\d{25}", error.hint)
    assert "hint" not in error.message
    return error


ROBOT_TEXT = encode_body(builders.build_robot_text("x"))
# An example of each class, each reached in another way.
REFUSALS: tuple[tuple[type[IntegrationError], int, Callable[[Place], object]], ...] = (
    (RecipientError, 60111, lambda at: at.app.user_get("ghost")),
    (RecipientError, 60003, lambda at: at.app.department_list(99)),
    (RecipientError, 46003, lambda at: at.app.menu_get()),
    (RecipientError, 60140, lambda at: at.app.message_update_template_card(update("unknown"))),
    (RecipientError, 86003, lambda at: at.whole.appchat_get("unknown")),
    (ConfigurationError, 48009, lambda at: at.contacts.user_list(2)),
    (ConfigurationError, 48002, lambda at: at.app.user_list_id()),
    (ConfigurationError, 48002, lambda at: at.app.appchat_create(userids=["lilei", "hanmeimei"])),
    (ConfigurationError, 40001, lambda at: at.client(secret="wrong-secret").agent_get()),
    (ConfigurationError, 40013, lambda at: at.client(corpid="ww9999999999999999").agent_get()),
    (ConfigurationError, 41004, lambda at: at.client(secret="").agent_get()),
    (ConfigurationError, 301002, lambda at: at.client(agentid=WHOLE).agent_get()),
    (ConfigurationError, 85005, lambda at: at.app.agent_set(redirect_domain="other.example.com")),
    (ConfigurationError, 50001, lambda at: at.whole.auth_getuserinfo(at.code())),
    (ConfigurationError, 93000, lambda at: at.robot_client("wrong-key").webhook_send(ROBOT_TEXT)),
    (BadRequestError, 40007, lambda at: sent(at, builders.build_media_content("file", "unknown"))),
    (BadRequestError, 40123, lambda at: at.app.media_upload(b"no picture", kind="image", file_name="图.png")),
    (BadRequestError, 40058, lambda at: at.app.message_recall("unknown")),
    (CodeRejectedError, 40029, lambda at: at.app.auth_getuserinfo("garbage")),
)


@pytest.mark.parametrize(("cls", "code", "call"), REFUSALS, ids=[str(row[1]) for row in REFUSALS])
def test_refusal(place: Place, cls: type[IntegrationError], code: int, call: Callable[[Place], object]) -> None:
    refused(cls, code, lambda: call(place))

    assert place.sandbox.calls()[-1]["errcode"] == code
    assert place.all_messages() == []


def test_an_address_that_is_not_trusted(place: Place) -> None:
    place.app_control(trusted_ips=["203.0.113.9"])

    for call in (place.app.getcallbackip, lambda: place.app.user_get("lilei"), lambda: place.app.message_send(text())):
        refused(ConfigurationError, 60020, call)

    # gettoken and robots work from an untrusted address.
    assert place.errcodes("gettoken") == [0]
    place.robot.webhook_send(ROBOT_TEXT)
    place.app_control(trusted_ips=[CALLER_IP])
    assert place.app.user_get("lilei").userid == "LiLei"
