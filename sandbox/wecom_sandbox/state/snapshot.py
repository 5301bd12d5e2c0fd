"""The state as lines of JSON, and in a file: read and replaced as a whole or not at all.

The first line is a seed. Each other line is an object with one name, one of `_READERS`. Faults, logs, used limits and
waiting events are not kept.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from wecom_sandbox.http import bodies, typed
from wecom_sandbox.http.bodies import encode_in_pieces
from wecom_sandbox.messages.inbox import CardView, Message, ResponseCode
from wecom_sandbox.state import administration
from wecom_sandbox.state.files import Media
from wecom_sandbox.state.world import Chat, Code, Ticket, Token, World, run_at_once

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LIST_FIELDS = ("receivers", "dropped")
_MESSAGE_FIELDS = frozenset(
    {"msgid", "corpid", "agentid", "msgtype", "content", "sent_at", "safe", "chatid", "robot", "sender", "recalled"}
)
_CODE_FIELDS = frozenset({"value", "expires_at", "folded", "used"})
_CHAT_FIELDS = frozenset({"chatid", "corpid", "agentid", "name", "owner"})
_MEDIA_FIELDS = frozenset({"media_id", "corpid", "kind", "filename", "content_type", "expires_at"})


class _CompanyObject(Protocol):
    corpid: str


@dataclass(slots=True)
class _Consent:
    """A member's consent that an app gets the data of snsapi_privateinfo."""

    corpid: str
    agentid: int
    folded: str
    until: float


T = TypeVar("T", bound=_CompanyObject)


def read_snapshot(world: World, path: Path) -> None:
    """Load a seed or a snapshot. Raise OSError and ValueError."""
    content = path.read_bytes()
    lines = content.splitlines()
    if len(lines) > 1 and _is_object(lines[0]):
        restore_lines(world, lines)
    else:
        administration.load_seed(world, bodies.parse_json(content))


def write_snapshot(world: World, path: Path) -> None:
    """Replace the file, readable only by its owner since it holds secrets. Raise OSError; then the old file stays. A
    full disk or a power failure leaves the old file or the new one, never a part."""
    target = path.resolve()
    # mkstemp creates files with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.writelines(encode_snapshot(world))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(target.parent)


def encode_snapshot(world: World) -> Iterator[bytes]:
    """Yield whole lines with their ends; the first line in pieces, one for each row. The content is the state when
    the first piece is requested; a row that changes before it is encoded may have its new content."""
    mail = world.mail
    messages, codes = list(mail.messages.values()), list(mail.response_codes.values())
    chats, media, credentials = list(world.chats.values()), list(world.media), _list_credentials(world)
    yield from encode_in_pieces(administration.dump_seed(world, iter))
    yield b"\n"
    yield _encode_line({"clock": world.now()})
    yield from (_encode_line({name: asdict(one)}) for name, one in credentials)
    yield from (_encode_line({"chat": asdict(chat) | {"members": list(chat.members)}}) for chat in chats)
    yield from (_encode_line({"media": asdict(one) | {"body": base64.b64encode(one.body).decode()}}) for one in media)
    yield from (_encode_line({"message": _make_message_json(message)}) for message in messages)
    yield from (_encode_line({"response_code": _make_code_json(code)}) for code in codes)


def _list_credentials(world: World) -> list[tuple[str, DataclassInstance]]:
    """Return tokens, codes, tickets and consents, each with the name of its lines."""
    return [
        *(("token", one) for one in world.tokens.values()),
        *(("code", one) for one in world.codes.values()),
        *(("user_ticket", one) for one in world.user_tickets.values()),
        *(("js_ticket", one) for one in world.js_tickets.values()),
        *(("consent", _Consent(*key, until)) for key, until in world.consents.items()),
    ]


def restore_lines(world: World, lines: Iterable[bytes]) -> None:
    """Load a snapshot into a world, line by line. Raise ValueError with the number of the line."""
    for number, line in enumerate(lines, 1):
        run_at_once(restore_line_in_steps(world, number, line))


def restore_line_in_steps(world: World, number: int, line: bytes) -> Generator[None, None, None]:
    """Restore one line; `number` 1 is the seed, which has a step for each row. Raise ValueError."""
    try:
        document = bodies.parse_json(line)
        if number == 1:
            yield from administration.load_seed_in_steps(world, document)
            return
        if not isinstance(document, dict) or len(document) != 1 or not document.keys() <= _READERS.keys():
            raise ValueError(f"it must be an object with one of {', '.join(_READERS)}")
        name, values = next(iter(document.items()))
        _READERS[name](world, values)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _is_object(line: bytes) -> bool:
    with suppress(ValueError):
        return isinstance(bodies.parse_json(line), dict)
    return False


def _encode_line(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _make_message_json(message: Message) -> dict[str, object]:
    fields = {name: getattr(message, name) for name in (*_MESSAGE_FIELDS, *_LIST_FIELDS)}
    return fields | {"views": {folded: asdict(view) for folded, view in message.views.items()}}


def _make_code_json(code: ResponseCode) -> dict[str, object]:
    return {name: getattr(code, name) for name in _CODE_FIELDS} | {"msgid": code.message.msgid}


def _read_message(world: World, values: object) -> None:
    rest, parts = _split_object(values, *_LIST_FIELDS, "views")
    message = typed.build(Message, rest, path="message", allowed=_MESSAGE_FIELDS)
    _check_company(world, message.corpid)
    if message.msgid in world.mail.messages:
        raise ValueError(f"message {message.msgid} occurs twice")
    message.receivers, message.dropped = (tuple(_read_texts(parts[name], name)) for name in _LIST_FIELDS)
    views = parts["views"]
    if not isinstance(views, dict):
        raise ValueError("message.views must be an object")
    message.views = {folded: typed.build(CardView, view, path="message.views") for folded, view in views.items()}
    world.mail.restore(message)


def _read_code(world: World, values: object) -> None:
    rest, parts = _split_object(values, "msgid")
    fields = typed.check_fields(ResponseCode, rest, path="response_code", allowed=_CODE_FIELDS)
    message = world.mail.messages.get(str(parts["msgid"]))
    if message is None or fields.keys() != _CODE_FIELDS:
        raise ValueError(f"response_code must have {', '.join(sorted(_CODE_FIELDS))}, and the msgid of a message above")
    world.mail.put_code(ResponseCode(message=message, **fields))


def _read_chat(world: World, values: object) -> None:
    rest, parts = _split_object(values, "members")
    fields = typed.check_fields(Chat, rest, path="chat", allowed=_CHAT_FIELDS)
    if fields.keys() != _CHAT_FIELDS:
        raise ValueError(f"chat must have {', '.join(sorted(_CHAT_FIELDS))}")
    chat = Chat(members=dict.fromkeys(_read_texts(parts["members"], "members")), **fields)
    _check_company(world, chat.corpid)
    world.store_chat(chat)


def _read_media(world: World, values: object) -> None:
    rest, parts = _split_object(values, "body")
    fields = typed.check_fields(Media, rest, path="media", allowed=_MEDIA_FIELDS)
    if fields.keys() != _MEDIA_FIELDS:
        raise ValueError(f"media must have {', '.join(sorted(_MEDIA_FIELDS))}")
    try:
        body = base64.b64decode(str(parts["body"]), validate=True)
    except ValueError as error:
        raise ValueError("media.body must be base64") from error
    world.media.add(Media(body=body, **fields))


def _read_token(world: World, values: object) -> None:
    token = _read_company_object(world, Token, "token", values)
    world.tokens[token.value] = token


def _read_js_ticket(world: World, values: object) -> None:
    ticket = _read_company_object(world, Ticket, "js_ticket", values)
    world.js_tickets[ticket.corpid, ticket.agentid, ticket.kind] = ticket


def _read_consent(world: World, values: object) -> None:
    consent = _read_company_object(world, _Consent, "consent", values)
    world.consents[consent.corpid, consent.agentid, consent.folded] = consent.until


def _read_company_object(world: World, cls: type[T], name: str, values: object) -> T:
    found = typed.build(cls, values, path=name)
    _check_company(world, found.corpid)
    return found


def _read_clock(world: World, values: object) -> None:
    """Move the clock forward to `values`; it never goes back."""
    if isinstance(values, bool) or not isinstance(values, int | float):
        raise ValueError("clock must be a number")
    world.clock.advance(max(0.0, values - world.now()))


_READERS: dict[str, Callable[[World, object], None]] = {
    "clock": _read_clock,
    "token": _read_token,
    "code": lambda world, values: world.store_code(_read_company_object(world, Code, "code", values)),
    "user_ticket": lambda world, values: world.store_ticket(_read_company_object(world, Ticket, "user_ticket", values)),
    "js_ticket": _read_js_ticket,
    "consent": _read_consent,
    "chat": _read_chat,
    "media": _read_media,
    "message": _read_message,
    "response_code": _read_code,
}


def _split_object(values: object, *names: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return an object without these names, and one with only these. Raise ValueError."""
    if not isinstance(values, dict) or not values.keys() >= set(names):
        raise ValueError(f"an object with {', '.join(names)} is expected")
    rest = {name: value for name, value in values.items() if name not in names}
    return rest, {name: values[name] for name in names}


def _read_texts(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} must be a list of texts")
    return value


def _check_company(world: World, corpid: str) -> None:
    if corpid not in world.companies:
        raise ValueError(f"there is no company {corpid}")


def _sync_folder(folder: Path) -> None:
    """Make a renamed file in the folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
