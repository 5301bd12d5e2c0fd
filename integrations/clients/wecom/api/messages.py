"""Sending, changing, recalling; group chats. Source of each call: developer.work.weixin.qq.com, page given there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from integrations.clients.wecom.api.base import (
    Answer,
    Call,
    Calls,
    child,
    joined,
    optional_text,
    text,
    texts,
    typed,
)
from integrations.clients.wecom.builders import MessageError, Payload, check_chatid, check_count

CHAT_MEMBERS = (2, 2000)
CHAT_NAME_CHARACTERS = 50
_SEND = "/cgi-bin/message/send"


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a message. Ids come back lower-cased: compare without case. Acceptance is not delivery."""

    msgid: str = ""
    response_code: str = ""
    invalid_userids: tuple[str, ...] = ()
    unlicensed_userids: tuple[str, ...] = ()
    warning: str = ""


def send_result_from(answer: Answer) -> SendResult:
    """Never raises: the message has been accepted, whatever the answer looks like."""
    errmsg = optional_text(answer, "errmsg")
    return SendResult(
        msgid=optional_text(answer, "msgid"),
        response_code=optional_text(answer, "response_code"),
        invalid_userids=joined(answer, "invaliduser"),
        unlicensed_userids=joined(answer, "unlicenseduser"),
        warning=errmsg if "warning" in errmsg.lower() else "",
    )


@dataclass(frozen=True, slots=True)
class Chat:
    """A group chat of the application."""

    chatid: str
    name: str
    owner: str
    userids: tuple[str, ...]


def chatid_from(answer: Answer) -> str:
    """appchat/create."""
    return text(answer, "chatid")


def chat_from(answer: Answer) -> Chat:
    """appchat/get."""
    chat = child(answer, "chat_info")
    return Chat(
        text(chat, "chatid"), optional_text(chat, "name"), optional_text(chat, "owner"), texts(chat, "userlist")
    )


class MessageCalls(Calls):
    """Calls that reach people. Where it is unclear whether one went out: OutcomeUnknownError."""

    def message_send(self, body: bytes) -> SendResult:
        """Send exactly the bytes of `body` (see `limits.body_bytes`). Partial success is a result, not an error.

        Raises RecipientError with the ids where nobody can receive it. Source: document/path/90236 (page of
        2025-09-24).
        """
        answer = self._call(Call("message_send", _SEND, "POST", body=body, is_repeatable=False))
        return send_result_from(answer)

    def message_update_template_card(self, update: Payload) -> tuple[str, ...]:
        """Change a card (see `builders.card_update`); the userids for whom that was not possible, lower-cased.

        A response_code works once. Source: document/path/94945 (page of 2025-07-24).
        """
        path = "/cgi-bin/message/update_template_card"
        answer = self._write("message_update_template_card", path, update, is_repeatable=False)
        return joined(answer, "invaliduser")

    def message_recall(self, msgid: str) -> None:
        """Take a message back, within 24 h; the WeChat plug-in keeps it. Source: document/path/94867."""
        self._write("message_recall", "/cgi-bin/message/recall", {"msgid": msgid})


class ChatCalls(Calls):
    """Group chats that the application owns. Only where its visible scope is the root department, else 48002, 60011.

    Source: document/path/90245 (create), 90246 (update), 90247 (get), 90248 (send).
    """

    def appchat_create(self, *, userids: Sequence[str], name: str = "", owner: str = "", chatid: str = "") -> str:
        """Make a chat of 2 to 2000 members; gives its chatid. `name`: at most 50 characters. Without an `owner` WeCom
        takes any member; without a `chatid` it makes one, and then an unclear failure may have made a chat."""
        check_count("userlist", len(userids), CHAT_MEMBERS[1], at_least=CHAT_MEMBERS[0])
        values: Payload = {**_chat_fields(name, owner), "userlist": list(userids)}
        # WeCom's ids are the same in capital and small letters.
        if owner and owner.lower() not in {userid.lower() for userid in userids}:
            raise MessageError("owner", "is not among the members")
        if chatid:
            check_chatid(chatid)
            values["chatid"] = chatid
        answer = self._write("appchat_create", "/cgi-bin/appchat/create", values, is_repeatable=False)
        return typed("appchat_create", chatid_from, answer)

    def appchat_update(
        self, chatid: str, *, name: str = "", owner: str = "", add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Change name, owner or members; what is empty stays."""
        check_chatid(chatid)
        values: Payload = {"chatid": chatid, **_chat_fields(name, owner)}
        if add:
            values["add_user_list"] = list(add)
        if remove:
            values["del_user_list"] = list(remove)
        self._write("appchat_update", "/cgi-bin/appchat/update", values)

    def appchat_get(self, chatid: str) -> Chat:
        """Name, owner and members."""
        check_chatid(chatid)
        return self._read("appchat_get", "/cgi-bin/appchat/get", chat_from, {"chatid": chatid})

    def appchat_send(self, body: bytes) -> None:
        """Send exactly the bytes of `body` (see `builders.chat_message`) into a chat. There is no duplicate check."""
        self._call(Call("appchat_send", "/cgi-bin/appchat/send", "POST", body=body, is_repeatable=False))


def _chat_fields(name: str, owner: str) -> Payload:
    check_count("name", len(name), CHAT_NAME_CHARACTERS)
    return {field: value for field, value in (("name", name), ("owner", owner)) if value}
