"""What WeCom refuses, by state and not by a fault: the code, and the class that says what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from integrations.clients.errors import (
    BadRequestError,
    ConfigurationError,
    IntegrationError,
    LoginRefusedError,
    RecipientError,
)
from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Recipients, body_bytes
from integrations.clients.wecom.client import AgentChanges
from tests.integrations.against_sandbox.message_cases import sent, text, update
from tests.integrations.against_sandbox.place import CALLER_IP, MINI_PROGRAM, PNG, WHOLE, Place
from tests.sandbox_process import AGENTID


def refused(cls: type[IntegrationError], code: int, call: Callable[[], object]) -> Any:
    """The error of a refusal, which carries what an administrator needs."""
    with pytest.raises(IntegrationError) as caught:
        call()
    error = caught.value
    assert (type(error), error.code) == (cls, code), error
    assert error.caller_ip == CALLER_IP
    assert re.fullmatch(r"\d{25}", error.hint)
    assert "hint" not in error.message
    return error


def raw(**values: object) -> bytes:
    """A message that our builders would not make."""
    return body_bytes({"agentid": AGENTID, "touser": "lilei", "msgtype": "text", "text": {"content": "x"}, **values})


DROP, CONFIG, BUG, LOGIN = RecipientError, ConfigurationError, BadRequestError, LoginRefusedError
Row = tuple[type[IntegrationError], int, Callable[[Place], object]]
# The classes follow the table of error codes: drop, config, bug, restart login. For chats it says "bug or drop".
DIRECTORY: tuple[Row, ...] = (
    (DROP, 60011, lambda at: at.app.user_get("jim")),
    (DROP, 60111, lambda at: at.app.user_get("ghost")),
    (DROP, 40003, lambda at: at.app.user_get("李雷")),
    (DROP, 60011, lambda at: at.app.user_list(4)),
    (DROP, 60011, lambda at: at.app.department_get(1)),
    (DROP, 60011, lambda at: at.app.department_list(1)),
    (DROP, 60003, lambda at: at.app.department_simplelist(99)),
    (DROP, 40068, lambda at: at.app.tag_get(99)),
    (CONFIG, 48002, lambda at: at.app.user_list_id()),
    (CONFIG, 48009, lambda at: at.contacts.user_get("lilei")),
    (CONFIG, 48009, lambda at: at.contacts.user_list(2)),
    (CONFIG, 48009, lambda at: at.contacts.department_list()),
    (CONFIG, 48002, lambda at: at.contacts.message_send(text())),
    (CONFIG, 48002, lambda at: at.contacts.get_jsapi_ticket()),
)
APPLICATION: tuple[Row, ...] = (
    (CONFIG, 40001, lambda at: at.client(secret="wrong-secret").agent_get()),
    (CONFIG, 40013, lambda at: at.client(corpid="ww9999999999999999").agent_get()),
    (CONFIG, 41004, lambda at: at.client(secret="").agent_get()),
    (CONFIG, 301002, lambda at: at.client(agentid=WHOLE).agent_get()),
    (CONFIG, 301002, lambda at: at.client(agentid=WHOLE).menu_get()),
    (CONFIG, 301002, lambda at: at.whole.message_send(text())),
    (DROP, 46003, lambda at: at.app.menu_get()),
    (CONFIG, 85005, lambda at: at.app.agent_set(AgentChanges(redirect_domain="other.example.com"))),
)
CARD = {"title": "标题", "description": "说明", "url": "https://example.com/"}
NOTICE = {"appid": MINI_PROGRAM, "title": "会议室预定成功"}
MESSAGES: tuple[Row, ...] = (
    (BUG, 82001, lambda at: at.app.message_send(raw(touser="", toparty="", totag=" | "))),
    (BUG, 40032, lambda at: at.app.message_send(raw(touser="|".join(f"u{i}" for i in range(1001))))),
    (BUG, 82002, lambda at: at.app.message_send(raw(toparty="|".join(map(str, range(101)))))),
    (BUG, 82003, lambda at: at.app.message_send(raw(totag="|".join(map(str, range(101)))))),
    (BUG, 40008, lambda at: at.app.message_send(raw(msgtype="poem", poem={"content": "x"}))),
    (BUG, 44004, lambda at: at.app.message_send(raw(text={"content": ""}))),
    (BUG, 40074, lambda at: at.app.message_send(raw(msgtype="news", news={"articles": [{"title": "x"}]}, safe=1))),
    (BUG, 45034, lambda at: at.app.message_send(raw(msgtype="textcard", textcard=CARD | {"url": "a.example"}))),
    (BUG, 41033, lambda at: at.app.message_send(raw(msgtype="textcard", textcard=CARD | {"description": ""}))),
    (BUG, 45002, lambda at: at.app.message_send(raw(msgtype="markdown", markdown={"content": "字" * 683}))),
    (CONFIG, 48002, lambda at: at.app.message_send(raw(msgtype="miniprogram_notice", miniprogram_notice=NOTICE))),
    (BUG, 42031, lambda at: at.app.message_send(raw(msgtype="template_card", template_card={"card_type": "poem"}))),
    (DROP, 60140, lambda at: at.app.message_update_template_card(update("unknown"))),
    (BUG, 40058, lambda at: at.app.message_recall("unknown")),
    (BUG, 40058, lambda at: at.whole.message_recall(at.app.message_send(text()).msgid)),
)
CHATS: tuple[Row, ...] = (
    (CONFIG, 48002, lambda at: at.app.appchat_create(userids=["lilei", "hanmeimei"])),
    (DROP, 86003, lambda at: at.whole.appchat_get("unknown")),
    (DROP, 86003, lambda at: at.whole.appchat_update("unknown", name="群")),
    (DROP, 86003, lambda at: at.whole.appchat_send(chat_text("unknown"))),
    (BUG, 86007, lambda at: at.whole.appchat_create(userids=["lilei", "ghost"])),
    (BUG, 86216, lambda at: at.whole.appchat_update(chat(at), add=["ghost"])),
    (BUG, 86207, lambda at: at.whole.appchat_update(chat(at), owner="hanmeimei")),
    (BUG, 86204, lambda at: at.whole.appchat_update(chat(at), remove=["jim"])),
    (BUG, 86215, lambda at: [at.whole.appchat_create(userids=["lilei", "jim"], chatid="Daily7") for _ in range(2)]),
)
FILES: tuple[Row, ...] = (
    (BUG, 40007, lambda at: sent(at, builders.file_content("unknown"))),
    (BUG, 40007, lambda at: sent(at, builders.image_content(uploaded(at)))),
    (BUG, 40123, lambda at: at.app.media_upload(b"no picture", kind="image", file_name="图.png")),
    (CONFIG, 93000, lambda at: at.robot_client("wrong-key").webhook_send(body_bytes(builders.robot_text("x")))),
    (CONFIG, 93000, lambda at: at.robot_client("wrong-key").webhook_upload_media(PNG, file_name="x")),
    (BUG, 40008, lambda at: at.robot.webhook_send(body_bytes({"msgtype": "poem", "poem": {}}))),
    (BUG, 40058, lambda at: at.robot.webhook_send(body_bytes({"msgtype": "text", "text": {"content": "字" * 683}}))),
)
SIGN_IN: tuple[Row, ...] = (
    (LOGIN, 40029, lambda at: at.app.auth_getuserinfo("garbage")),
    (LOGIN, 41008, lambda at: at.app.auth_getuserinfo("")),
    (CONFIG, 50001, lambda at: at.whole.auth_getuserinfo(at.code())),
    (CONFIG, 50001, lambda at: at.contacts.auth_getuserinfo(at.code())),
)
ROWS = (*DIRECTORY, *APPLICATION, *MESSAGES, *CHATS, *FILES, *SIGN_IN)


def chat(at: Place) -> str:
    return at.whole.appchat_create(userids=["lilei", "jim"])


def chat_text(chatid: str) -> bytes:
    return body_bytes(builders.chat_message(chatid=chatid, content=builders.text_content("日报")))


def uploaded(at: Place) -> str:
    return at.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv")


@pytest.mark.parametrize(("cls", "code", "call"), ROWS, ids=[f"{row[1]}-{i}" for i, row in enumerate(ROWS)])
def test_refusal(place: Place, cls: type[IntegrationError], code: int, call: Callable[[Place], object]) -> None:
    refused(cls, code, lambda: call(place))

    last = place.sandbox.calls()[-1]
    assert last["errcode"] == code
    assert not [one for one in place.all_messages() if one["msgtype"] != "text"]


def test_nobody_can_receive_it(place: Place) -> None:
    to = Recipients(["JIM", "ghost"])

    error = refused(RecipientError, 81013, lambda: place.app.message_send(text(to=to)))

    assert error.invalid_userids == ("jim", "ghost")
    assert place.all_messages() == []


def test_somebody_outside_the_scope_signs_in(place: Place) -> None:
    identity = place.app.auth_getuserinfo(place.code("jim"))
    assert identity.userid == "jim"
    refused(RecipientError, 60011, lambda: place.app.user_get(identity.userid))


def test_an_address_that_is_not_trusted(place: Place) -> None:
    place.app_control(trusted_ips=["203.0.113.9"])

    for call in (place.app.getcallbackip, lambda: place.app.user_get("lilei"), lambda: place.app.message_send(text())):
        refused(ConfigurationError, 60020, call)

    # gettoken and robots need no trusted address.
    assert place.errcodes("gettoken") == [0]
    place.robot.webhook_send(body_bytes(builders.robot_text("x")))
    place.app_control(trusted_ips=[CALLER_IP])
    assert place.app.user_get("lilei").userid == "LiLei"
