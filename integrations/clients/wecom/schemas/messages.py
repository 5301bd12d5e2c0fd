"""What WeCom answers about messages, chats, files and tickets, beside the result of a send."""

from __future__ import annotations

from dataclasses import dataclass, field

from integrations.clients.wecom.schemas.base import Answer, child, integer, lasting, objects, optional_text, text, texts
from integrations.clients.wecom.token_refresh import FetchedToken


@dataclass(frozen=True, slots=True)
class AgentCount:
    """How many person-times an application sent to."""

    agentid: int
    name: str
    count: int


def agent_counts_from(answer: Answer) -> tuple[AgentCount, ...]:
    """message/get_statistics."""
    rows = objects(answer, "statistics", required=True)
    return tuple(
        AgentCount(integer(row, "agentid"), optional_text(row, "app_name"), integer(row, "count")) for row in rows
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


@dataclass(frozen=True, slots=True)
class Media:
    """A temporary file: every application of the company may use it for three days. `created_at`: Unix seconds."""

    media_id: str
    created_at: int | None


def media_from(answer: Answer) -> Media:
    """media/upload and webhook/upload_media; `created_at` is text in the documentation, a number in older answers."""
    created = optional_text(answer, "created_at")
    return Media(text(answer, "media_id"), int(created) if created.isascii() and created.isdigit() else None)


def picture_url_from(answer: Answer) -> str:
    """media/uploadimg."""
    return text(answer, "url")


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file that was fetched. `name` comes from the other side: never use it as a path."""

    content: bytes = field(repr=False)
    content_type: str
    name: str


def ticket_from(answer: Answer) -> FetchedToken:
    """get_jsapi_ticket and ticket/get."""
    return lasting(answer, "ticket")
