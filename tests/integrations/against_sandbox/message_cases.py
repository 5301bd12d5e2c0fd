"""Cases of messages, cards, chats and robots."""

from __future__ import annotations

from integrations.clients.wecom.api.messages import AgentCount, Chat, SendResult
from integrations.clients.wecom.messages import builders, robots
from integrations.clients.wecom.messages.builders import Content, Options, Payload, Recipients, text_content
from integrations.clients.wecom.messages.card_parts import Button
from integrations.clients.wecom.messages.cards import Head, button_interaction
from integrations.clients.wecom.messages.limits import body_bytes
from tests.integrations.against_sandbox.cases import case
from tests.integrations.against_sandbox.place import Place
from tests.sandbox_process import AGENTID

BOTH = Recipients(["LiLei", "hanmeimei"])


def text(content: str = "营收 1.2 亿", to: Recipients = BOTH, options: Options = builders.PLAIN) -> bytes:
    """The body of a text of the app."""
    return body_bytes(builders.text_message(agentid=AGENTID, to=to, content=content, options=options))


def sent(at: Place, content: Content, to: Recipients = BOTH) -> SendResult:
    """A content that the app sends."""
    return at.app.message_send(body_bytes(builders.app_message(agentid=AGENTID, to=to, content=content)))


def leave_card(task_id: str = "leave-7", *, replace_text: str = "") -> Content:
    """A card with two buttons."""
    return button_interaction(
        Head(title="请假申请", description="韩梅梅", task_id=task_id),
        buttons=[Button("同意", key="approve"), Button("驳回", key="reject", style=2)],
        replace_text=replace_text,
    )


def update(response_code: str, **values: object) -> Payload:
    """A change of the card for lilei: greyed buttons, unless another card is given."""
    change = {"userids": ["lilei"], **({} if "card" in values else {"replace_name": "已处理"}), **values}
    return builders.card_update(agentid=AGENTID, response_code=response_code, **change)  # type: ignore[arg-type]  # values


@case("message/send")
def message_send(at: Place) -> None:
    to = Recipients(["LiLei", "ghost", "JIM"], party_ids=[3, 9], tag_ids=[1, 7])

    result = at.app.message_send(text('你好\n<a href="https://example.com">看</a>', to))

    assert result == SendResult(
        result.msgid, invalid_userids=("ghost", "jim"), invalid_parties=("9",), invalid_tags=("7",)
    )
    assert [one["receivers"] for one in at.all_messages()] == [["lilei", "hanmeimei"]]
    shown = at.phone("lilei")
    assert [one["msgid"] for one in shown] == [result.msgid]
    assert shown[0]["text"] == {"content": '你好\n<a href="https://example.com">看</a>'}
    assert at.phone("jim") == []


@case("message/update_template_card")
def message_update_template_card(at: Place) -> None:
    result = sent(at, leave_card())

    assert at.app.message_update_template_card(update(result.response_code, userids=["LiLei", "Ghost"])) == ("ghost",)

    assert at.phone("lilei")[0]["replace_name"] == "已处理"
    assert "replace_name" not in at.phone("hanmeimei")[0]


@case("message/recall")
def message_recall(at: Place) -> None:
    first, second = at.app.message_send(text("一")), at.app.message_send(text("二"))
    at.app.message_recall(first.msgid)
    assert [(one["msgid"], one["recalled"]) for one in at.phone()] == [(first.msgid, True), (second.msgid, False)]


@case("message/get_statistics")
def message_get_statistics(at: Place) -> None:
    at.settings(token_seconds=2 * 24 * 3600)
    at.app.message_send(text())
    at.app.message_send(text(to=Recipients(["lilei"])))
    assert at.app.message_get_statistics() == (AgentCount(AGENTID, "观远BI", 3),)
    assert at.app.message_get_statistics("yesterday") == ()

    at.sandbox.advance(24 * 3600)
    assert at.app.message_get_statistics() == ()
    assert at.app.message_get_statistics("yesterday") == (AgentCount(AGENTID, "观远BI", 3),)


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
    at.whole.appchat_send(body_bytes(builders.chat_message(chatid=chatid, content=text_content("日报"), safe=1)))
    for userid in ("lilei", "jim"):
        (shown,) = at.phone(userid)
        assert (shown["chatid"], shown["text"], shown["safe"]) == (chatid, {"content": "日报"}, 1)
    assert at.phone("hanmeimei") == []


@case("webhook/send")
def webhook_send(at: Place) -> None:
    body = body_bytes(robots.robot_text("日报", mentioned_userids=["@all"], mentioned_mobiles=["13000000001"]))
    assert at.robot.webhook_send(body) == SendResult()
    (shown,) = at.all_messages()
    mentioned = {"mentioned_list": ["@all"], "mentioned_mobile_list": ["13000000001"]}
    assert (shown["msgtype"], shown["text"]) == ("text", {"content": "日报", **mentioned})
