"""Cases of messages, cards, chats and robots."""

from __future__ import annotations

from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Content, Payload, Recipients, body_bytes, text_content
from integrations.clients.wecom.cards import Button, Head, button_interaction, text_notice
from integrations.clients.wecom.client import Chat, SendResult
from tests.integrations.against_sandbox.cases import case
from tests.integrations.against_sandbox.place import Place
from tests.sandbox_process import AGENTID

BOTH = Recipients(["LiLei", "hanmeimei"])
LINK = "https://portal.example.com/m/7"
DONE = text_notice(Head(LINK, "已处理"))


def text(content: str = "营收 1.2 亿", to: Recipients = BOTH, duplicate_check_seconds: int = 0) -> bytes:
    """The body of a text of the app."""
    said = text_content(content)
    return body_bytes(
        builders.app_message(agentid=AGENTID, to=to, content=said, duplicate_check_seconds=duplicate_check_seconds)
    )


def sent(at: Place, content: Content, to: Recipients = BOTH) -> SendResult:
    """A content that the app sends."""
    return at.app.message_send(body_bytes(builders.app_message(agentid=AGENTID, to=to, content=content)))


def leave_card(task_id: str = "leave-7") -> Content:
    """A card with two buttons."""
    return button_interaction(
        Head(LINK, "请假申请", "韩梅梅", task_id=task_id),
        buttons=[Button("同意", key="approve"), Button("驳回", key="reject", style=2)],
    )


def update(response_code: str, agentid: int = AGENTID) -> Payload:
    """Put DONE in the place of a card."""
    return builders.card_update(agentid=agentid, response_code=response_code, card=DONE)


@case("message/send")
def message_send(at: Place) -> None:
    to = Recipients(["LiLei", "hanmeimei", "ghost", "JIM"])

    result = at.app.message_send(text('你好\n<a href="https://example.com">看</a>', to))

    assert result == SendResult(result.msgid, invalid_userids=("ghost", "jim"))
    assert [one["receivers"] for one in at.all_messages()] == [["lilei", "hanmeimei"]]
    shown = at.phone("lilei")
    assert [one["msgid"] for one in shown] == [result.msgid]
    assert shown[0]["text"] == {"content": '你好\n<a href="https://example.com">看</a>'}
    assert at.phone("jim") == []


@case("message/update_template_card")
def message_update_template_card(at: Place) -> None:
    result = sent(at, leave_card())

    assert at.app.message_update_template_card(update(result.response_code)) == ()

    assert [at.phone(userid)[0]["card"] for userid in ("lilei", "hanmeimei")] == [DONE.fields] * 2


@case("message/recall")
def message_recall(at: Place) -> None:
    first, second = at.app.message_send(text("一")), at.app.message_send(text("二"))
    at.app.message_recall(first.msgid)
    assert [(one["msgid"], one["recalled"]) for one in at.phone()] == [(first.msgid, True), (second.msgid, False)]


@case("appchat/create")
def appchat_create(at: Place) -> None:
    made = at.whole.appchat_create(userids=["LiLei", "jim"], name="日报群", owner="jim", chatid="Daily7")
    assert made == "Daily7"
    assert at.whole.appchat_get("Daily7") == Chat("Daily7", "日报群", "jim", ("LiLei", "jim"))
    assert len(at.whole.appchat_create(userids=["jim", "lilei"])) == 32


@case("appchat/update")
def appchat_update(at: Place) -> None:
    chatid = at.whole.appchat_create(userids=["lilei", "jim"], name="日报群", owner="jim")
    at.whole.appchat_update(chatid, name="周报群", owner="hanmeimei", add=["HanMeiMei"], remove=["jim"])
    assert at.whole.appchat_get(chatid) == Chat(chatid, "周报群", "hanmeimei", ("LiLei", "hanmeimei"))


@case("appchat/get")
def appchat_get(at: Place) -> None:
    chatid = at.whole.appchat_create(userids=["jim", "LILEI"], name="日报群", owner="lilei")
    assert at.whole.appchat_get(chatid) == Chat(chatid, "日报群", "LiLei", ("jim", "LiLei"))


@case("appchat/send")
def appchat_send(at: Place) -> None:
    chatid = at.whole.appchat_create(userids=["lilei", "jim"])
    at.whole.appchat_send(body_bytes(builders.chat_message(chatid=chatid, content=text_content("日报"))))
    for userid in ("lilei", "jim"):
        (shown,) = at.phone(userid)
        assert (shown["chatid"], shown["text"]) == (chatid, {"content": "日报"})
    assert at.phone("hanmeimei") == []


@case("webhook/send")
def webhook_send(at: Place) -> None:
    body = body_bytes(builders.robot_text("日报", mentioned_userids=["@all"], mentioned_mobiles=["13000000001"]))
    assert at.robot.webhook_send(body) == SendResult()
    (shown,) = at.all_messages()
    mentioned = {"mentioned_list": ["@all"], "mentioned_mobile_list": ["13000000001"]}
    assert (shown["msgtype"], shown["text"]) == ("text", {"content": "日报", **mentioned})
