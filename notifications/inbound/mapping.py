"""Makes a message of a payload, as the channel's mapping says: title, text, recipients, pictures and files. Pure.

A mapping is kept as JSON. Its paths are JMESPath; what a path does not find is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from integrations.clients import expressions
from integrations.clients.expressions import TooMuchWork
from integrations.core.sentences import Sentence, SentenceError
from notifications.inbound.fields import view_of
from notifications.inbound.files import FILES_AT_MOST, CheckedFile, FileRefusedError, checked
from notifications.inbound.payloads import Payload
from notifications.inbound.recipients import ADDRESSES_AT_MOST, Address, Kind
from notifications.models import IncomingMessage, MessageForm
from notifications.models.messages import FIGURES_AT_MOST
from notifications.reports.templates import renderer
from notifications.reports.templates.merge_fields import PAYLOAD
from notifications.reports.templates.renderer import Given
from notifications.reports.templates.values import NOTHING, TemplateError
from notifications.sources import Figure

ADDRESS_CHARACTERS = 200
# A float knows its last digit below it.
WHOLE_BELOW = 2**53
# What stands between recipients in one text.
_SEPARATORS = str.maketrans(dict.fromkeys(",;|，；、\n\r\t", " "))  # noqa: RUF001  # as people write them
# Where an object of a file has its name, and its content or address.
_NAMES = ("name", "filename", "fileName", "title")
_CONTENTS = ("content", "base64", "data", "url", "href")
# Stands for the end of a line within a value while a template is rendered, which makes one line of each value.
_LINE_END = "\ue000"


class MappingError(SentenceError):
    """The mapping does not fit what came in."""


@dataclass(frozen=True)
class Mapping:
    """`title` and `text`: templates. All `_path`s: JMESPath, empty for none.

    `recipient_kind`: a recipients.Kind; empty: the people chosen for the channel. `only_values`: the message is sent
    only where the value at `only_path` is one of these, or is true where there are none. `key_path`: a value, or a list
    of values that count together. `urgent_values`: of `severity_path`, in small letters. `figures`: lines of `caption:
    path`. `file_paths`: several.
    """

    title: str = ""
    text: str = ""
    is_markdown: bool = False
    recipient_kind: str = ""
    recipient_path: str = ""
    recipient_attribute: str = ""
    only_path: str = ""
    only_values: tuple[str, ...] = ()
    key_path: str = ""
    link_path: str = ""
    severity_path: str = ""
    urgent_values: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()
    file_paths: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As a channel keeps it, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}


def mapping_from(document: Any) -> Mapping:
    """A mapping as a channel keeps it. What is not known of it is left out."""
    found = document if isinstance(document, dict) else {}
    known: dict[str, Any] = {each.name: found[each.name] for each in fields(Mapping) if each.name in found}
    for name in ("only_values", "urgent_values", "file_paths"):
        known[name] = tuple(known.get(name, ()))
    known["figures"] = tuple((caption, path) for caption, path in known.get("figures", ()))
    return Mapping(**known)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a payload comes to. `addresses`: None for the people chosen for the channel. `key`: empty for none.
    `urls`: name and address of pictures and files that have yet to be fetched; `refused`: sentences about those that
    are not sent."""

    title: str
    text: str
    markup: str
    addresses: tuple[Address, ...] | None
    key: str = ""
    link: str = ""
    is_urgent: bool = False
    figures: tuple[Figure, ...] = ()
    files: tuple[CheckedFile, ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    refused: tuple[Sentence, ...] = ()


def apply(mapping: Mapping, payload: Payload, *, now: datetime, zone: ZoneInfo) -> Mapped | None:
    """The message; None where it is left out by the condition. Raises MappingError."""
    try:
        if not _is_wanted(mapping, payload):
            return None
        return _mapped(mapping, payload, Given(now, zone, values={PAYLOAD: view_of(_one_line(payload))}))
    except TooMuchWork:
        raise MappingError(Sentence("An expression takes too long on this payload.")) from None
    except TemplateError as error:
        raise MappingError(error.sentence) from error


def check_template(source: str) -> None:
    """Raises TemplateError."""
    renderer.check(source, [PAYLOAD])


def check_path(path: str) -> None:
    """Raises ExpressionRefused."""
    if path:
        expressions.check_selection(path)


# --- The message ------------------------------------------------------------------------------------------------------


def _mapped(mapping: Mapping, payload: Payload, given: Given) -> Mapped:
    files, urls, refused = _files(mapping.file_paths, payload)
    form = MessageForm.MARKDOWN if mapping.is_markdown else ""
    return Mapped(
        title=_rendered(mapping.title, given, ""),
        text=_rendered(mapping.text, given, form),
        markup=IncomingMessage.Markup.MARKDOWN if mapping.is_markdown else IncomingMessage.Markup.PLAIN,
        addresses=tuple(_addresses(mapping, payload)) if mapping.recipient_kind else None,
        key=_key(expressions.find(mapping.key_path, payload)),
        link=_text(expressions.find(mapping.link_path, payload)),
        is_urgent=_text(expressions.find(mapping.severity_path, payload)).lower() in mapping.urgent_values,
        figures=tuple(_figures(mapping, payload)),
        files=files,
        urls=urls,
        refused=refused,
    )


def _one_line(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_LINE_END, " ").replace("\r\n", "\n").replace("\n", _LINE_END)
    if isinstance(value, dict):
        return {name: _one_line(one) for name, one in value.items()}
    return [_one_line(one) for one in value] if isinstance(value, list) else value


def _rendered(template: str, given: Given, form: str) -> str:
    return renderer.rendered(template, given, form, is_cut=True).replace(_LINE_END, "\n")


def _is_wanted(mapping: Mapping, payload: Payload) -> bool:
    if not mapping.only_path:
        return True
    found = expressions.find(mapping.only_path, payload)
    if not mapping.only_values:
        return bool(found)
    wanted = {value.casefold() for value in mapping.only_values}
    return any(_text(one).casefold() in wanted for one in _listed(found))


def _figures(mapping: Mapping, payload: Payload) -> Iterator[Figure]:
    for caption, path in mapping.figures[:FIGURES_AT_MOST]:
        words = _text(expressions.find(path, payload))
        if words:
            yield Figure(caption, words)


def _addresses(mapping: Mapping, payload: Payload) -> Iterator[Address]:
    """One text may name several people; a mail address may stand within a name: `Wang <wang@example.com>`."""
    kind, count = Kind(mapping.recipient_kind), 0
    for value in _listed(expressions.find(mapping.recipient_path, payload)):
        for word in _text(value).translate(_SEPARATORS).split():
            name = word.strip("<>") if kind == Kind.EMAIL else word
            if kind == Kind.EMAIL and "@" not in name:
                continue
            if count == ADDRESSES_AT_MOST:
                return
            count += 1
            yield Address(kind, name[:ADDRESS_CHARACTERS], attribute=mapping.recipient_attribute)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _key(value: Any) -> str:
    """What a list selects counts together; empty where it selects nothing."""
    if not isinstance(value, list):
        return _text(value)
    return json.dumps(value, sort_keys=True) if any(_key(one) for one in value) else ""


def _text(value: Any) -> str:
    """A value in words; what holds others is none. Some senders write 123 as 123.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_BELOW:
        return str(int(value))
    if value is None or isinstance(value, dict | list):
        return ""
    shown = view_of(value)
    return "" if shown is NOTHING else str(shown)


# --- Pictures and files -----------------------------------------------------------------------------------------------

_Files = tuple[tuple[CheckedFile, ...], tuple[tuple[str, str], ...], tuple[Sentence, ...]]


def _files(paths: Sequence[str], payload: Payload) -> _Files:
    files: list[CheckedFile] = []
    urls: list[tuple[str, str]] = []
    refused: list[Sentence] = []
    for name, content in _contents(paths, payload):
        if len(files) + len(urls) == FILES_AT_MOST:
            refused.append(Sentence("Only the first %(count)d files are sent.") % {"count": FILES_AT_MOST})
            break
        if content.lower().startswith(("http://", "https://")):
            urls.append((name, content))
            continue
        try:
            files.append(checked(name or "file", _bytes(name, content)))
        except FileRefusedError as error:
            refused.append(error.sentence)
    return tuple(files), tuple(urls), tuple(refused)


def _contents(paths: Sequence[str], payload: Payload) -> Iterator[tuple[str, str]]:
    """Name and content of each file: a text, or an object that has both."""
    for path in paths:
        for value in _listed(expressions.find(path, payload)):
            if isinstance(value, str) and value:
                yield "", value
            elif isinstance(value, dict):
                content = _first_text(value, _CONTENTS)
                if content:
                    yield _first_text(value, _NAMES), content


def _first_text(members: dict[str, Any], names: Sequence[str]) -> str:
    return next((cast("str", members[name]) for name in names if isinstance(members.get(name), str)), "")


def _bytes(name: str, content: str) -> bytes:
    """Of base64, or of a data: address with it. Raises FileRefusedError."""
    head, _comma, digits = content.partition(",") if content.startswith("data:") else ("", "", content)
    try:
        if head and not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode("".join(digits.split()), validate=True)
    except (binascii.Error, ValueError):
        sentence = Sentence("“%(name)s” is neither base64 nor an address with http or https.")
        raise FileRefusedError(sentence % {"name": name or "file"}) from None
