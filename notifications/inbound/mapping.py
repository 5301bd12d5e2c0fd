"""Makes a message of a payload by the channel's mapping: title, text, recipients, pictures and files.

A mapping is stored as JSON. Its paths are JMESPath; a path that finds nothing is ignored. `list_payload_lines` lists
the fields of a payload for an editor, `PRESETS` holds the ready-made mappings of the usual senders.

Each preset is a file in `senders/`, with its words in English and Chinese. They follow the documents of Grafana (its
webhook notifier), Alertmanager (webhook_config), Jenkins (Notification plugin), GitLab (webhook events) and Metabase
(webhooks), and the code of Superset (reports/notifications/webhook.py), DolphinScheduler (alert-http) and
Nightingale (models/alert_cur_event.go); all read 2026-11-28, Nightingale's 2026-12-01. Guandata's custom push channel
is not documented: its fields are picked from the first payload.
"""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import get_language

from integrations.clients import expressions
from integrations.clients.expressions import ExpressionTooCostlyError
from integrations.core.sentences import Sentence
from notifications.inbound.content import FILES_AT_MOST, ChannelRules, CheckedFile, InboundError, check_file
from notifications.inbound.payloads import Payload
from notifications.inbound.recipients import ADDRESSES_AT_MOST, Address, AddressKind
from notifications.models import InboundChannel, IncomingMessage, MessageForm
from notifications.models.inbound import FIGURES_AT_MOST
from notifications.reports.templates import renderer
from notifications.reports.templates.merge_fields import PAYLOAD, quote_text
from notifications.reports.templates.renderer import RenderContext
from notifications.reports.templates.values import NOTHING, Exposed, ExpressionError, TemplateError, from_cell

ADDRESS_CHARACTERS = 200
# A whole number below this is exact in a float.
WHOLE_BELOW = 2**53
# Separators of recipients in one text.
_SEPARATORS = str.maketrans(dict.fromkeys(",;|，；、\n\r\t", " "))
# Members of a file object that hold its name, and its content or address.
_NAMES = ("name", "filename", "fileName", "title")
_CONTENTS = ("content", "base64", "data", "url", "href")
# Stands for a line end inside a value during rendering, because a template puts each value on one line.
_LINE_END = "\ue000"


@dataclass(frozen=True)
class ChannelMapping(ChannelRules):
    """Mapping of a channel. `title` and `text`: templates. All `_path`s: JMESPath, empty for none.

    `recipient_kind`: a recipients.AddressKind; empty: the people chosen for the channel. `only_values`: the message
    is sent only if the value at `only_path` is one of these; without any, only if the value is true or not empty.
    `key_path`: a value, or a list of values that form one key; each key is sent once. `urgent_values`: values of
    `severity_path`, in lower case. `figures`: pairs of caption and path. `file_paths`: several paths.
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


@dataclass(frozen=True, slots=True)
class MappedMessage:
    """Result of a mapping. `message`: unsaved, with its title, text, link and figures. `addresses`: None for the people
    chosen for the channel. `key`: empty for none. `urls`: name and address of pictures and files still to be fetched;
    `refused`: reasons why files are not sent."""

    message: IncomingMessage
    addresses: tuple[Address, ...] | None = None
    key: str = ""
    is_urgent: bool = False
    files: tuple[CheckedFile, ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    refused: tuple[Sentence, ...] = ()


def map_payload(channel: InboundChannel, payload: Payload, *, now: datetime) -> MappedMessage | None:
    """Return the message that the channel's mapping makes of the payload; None if the mapping's condition excludes it.
    It is written in the site's language and time zone: the sender does not read it. Raise InboundError if the mapping
    does not fit the payload."""
    mapping = ChannelMapping.from_document(channel.mapping)
    context = RenderContext(now, timezone.get_default_timezone(), values={PAYLOAD: expose_payload(payload)})
    form = MessageForm.MARKDOWN if mapping.is_markdown else ""
    with translation.override(settings.LANGUAGE_CODE):
        try:
            if mapping.only_path:
                found = expressions.find_value(mapping.only_path, payload)
                wanted = {value.casefold() for value in mapping.only_values}
                texts = {_write_text(one).casefold() for one in _to_list(found)} if wanted else set()
                if not (wanted & texts if wanted else found):
                    return None
            files, urls, refused = _collect_files(mapping.file_paths, payload)
            message = IncomingMessage(
                title=_render(mapping.title, context, ""),
                text=_render(mapping.text, context, form),
                markup=IncomingMessage.Markup.MARKDOWN if mapping.is_markdown else IncomingMessage.Markup.PLAIN,
                link=_write_text(expressions.find_value(mapping.link_path, payload)),
                figures=[
                    [caption, value]
                    for caption, path in mapping.figures[:FIGURES_AT_MOST]
                    if (value := _write_text(expressions.find_value(path, payload)))
                ],
            )
            severity = _write_text(expressions.find_value(mapping.severity_path, payload)).lower()
            addresses = None
            if mapping.recipient_kind:
                kind, attribute = AddressKind(mapping.recipient_kind), mapping.recipient_attribute
                values = map(_write_text, _to_list(expressions.find_value(mapping.recipient_path, payload)))
                # One text may name several, and a mail address may follow a name: `Wang <wang@example.com>`.
                names = [word for value in values for word in value.translate(_SEPARATORS).split()]
                if kind == AddressKind.EMAIL:
                    names = [name.strip("<>") for name in names if "@" in name]
                names = [name[:ADDRESS_CHARACTERS] for name in names[:ADDRESSES_AT_MOST]]
                addresses = tuple(Address(kind, name, attribute=attribute) for name in names)
            return MappedMessage(
                message,
                addresses=addresses,
                key=_write_key(expressions.find_value(mapping.key_path, payload)),
                is_urgent=severity in mapping.urgent_values,
                files=files,
                urls=urls,
                refused=refused,
            )
        except ExpressionTooCostlyError:
            raise InboundError("mapping_failed", Sentence("An expression takes too long on this payload.")) from None
        except TemplateError as error:
            raise InboundError("mapping_failed", error.sentence) from error


def _render(template: str, context: RenderContext, form: str) -> str:
    return renderer.render_template(template, context, form, is_cut=True).replace(_LINE_END, "\n")


def _to_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _write_key(value: Any) -> str:
    """Return the key as text. The values of a list form one key; it is empty if all of them are."""
    if not isinstance(value, list):
        return _write_text(value)
    return json.dumps(value, sort_keys=True) if any(_write_key(one) for one in value) else ""


def _write_text(value: Any) -> str:
    """Return a single value as text; empty for an object or a list. 123.0 becomes 123, as some senders write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_BELOW:
        return str(int(value))
    if value is None or isinstance(value, dict | list):
        return ""
    shown = from_cell(value)
    return "" if shown is NOTHING else str(shown)


_Files = tuple[tuple[CheckedFile, ...], tuple[tuple[str, str], ...], tuple[Sentence, ...]]


def _collect_files(paths: Sequence[str], payload: Payload) -> _Files:
    """Return the files in the payload, name and URL of those to fetch, and the reasons why some are not sent."""
    files: list[CheckedFile] = []
    urls: list[tuple[str, str]] = []
    refused: list[Sentence] = []
    for one in (one for path in paths for one in _to_list(expressions.find_value(path, payload))):
        # A file is a text, or an object that has name and content.
        members = one if isinstance(one, dict) else {}
        content = one if isinstance(one, str) else _find_first_text(members, _CONTENTS)
        name = _find_first_text(members, _NAMES)
        if not content:
            continue
        if len(files) + len(urls) == FILES_AT_MOST:
            refused.append(Sentence("Only the first %(count)d files are sent.") % {"count": FILES_AT_MOST})
            break
        if content.lower().startswith(("http://", "https://")):
            urls.append((name, content))
            continue
        # Base64, also inside a data: URL.
        head, _comma, digits = content.partition(",") if content.startswith("data:") else ("", "", content)
        try:
            if head and not head.endswith(";base64"):
                raise ValueError
            decoded = base64.b64decode("".join(digits.split()), validate=True)
        except ValueError:
            sentence = Sentence("“%(name)s” is neither base64 nor an address with http or https.")
            refused.append(sentence % {"name": name or "file"})
            continue
        try:
            files.append(check_file(name or "file", decoded))
        except InboundError as error:
            refused.append(error.sentence)
    return tuple(files), tuple(urls), tuple(refused)


def _find_first_text(members: dict[str, Any], names: Sequence[str]) -> str:
    return next((cast("str", members[name]) for name in names if isinstance(members.get(name), str)), "")


SHOWN_CHARACTERS = 4000
# Limits of the tree that an editor sees.
LINES_AT_MOST = 500
ITEMS_AT_MOST = 5
EXAMPLE_CHARACTERS = 80
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Names with a meaning of their own in a template.
_NOT_ATTRIBUTES = frozenset({"true", "false", "none", "True", "False", "None"})


class PayloadObject(Exposed):
    """An object of a payload in a template: `payload.commit.author`, `payload['commit id']`. A missing field has no
    value."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def get_attribute(self, name: str) -> Any:
        return expose_payload(self._fields.get(name))

    def get_item(self, key: object) -> Any:
        if not isinstance(key, str):
            raise ExpressionError(Sentence("Write the name of a field in quotes."))
        return self.get_attribute(key)

    def as_text(self) -> str:
        return _write_whole(self._fields)


class PayloadList(Exposed, tuple[Any, ...]):
    """A list of a payload in a template, which can loop over it, take an item by number, or show it whole."""

    payload: list[Any]

    def get_attribute(self, name: str) -> Any:
        return NOTHING

    def get_item(self, key: object) -> Any:
        return self[key] if isinstance(key, int) and -len(self) <= key < len(self) else NOTHING

    def as_text(self) -> str:
        if all(isinstance(one, str) for one in self):
            return ", ".join(self)[:SHOWN_CHARACTERS]
        return _write_whole(self.payload)


def _write_whole(payload: Payload) -> str:
    """Write an object or a list as JSON. A _LINE_END that the sender wrote becomes a blank."""
    return json.dumps(payload, ensure_ascii=False).replace(_LINE_END, " ")[:SHOWN_CHARACTERS]


def expose_payload(payload: Payload) -> Any:
    """Return a payload as templates see it, with _LINE_END in its texts."""
    if isinstance(payload, str):
        payload = payload.replace(_LINE_END, " ").replace("\r\n", "\n").replace("\n", _LINE_END)
    if isinstance(payload, dict):
        return PayloadObject(payload)
    if isinstance(payload, list):
        exposed = PayloadList(map(expose_payload, payload))
        exposed.payload = payload
        return exposed
    return from_cell(payload)


@dataclass(frozen=True, slots=True)
class PayloadLine:
    """A line of the payload's tree on the page. `path`: in JMESPath; `template`: text that a click adds. `example`:
    its value, cut; empty for an object or a list. `depth`: from 0."""

    name: str
    path: str
    template: str
    example: str
    depth: int
    is_leaf: bool


def list_payload_lines(
    value: Payload, path: str = "", template: str = PAYLOAD, depth: int = 0
) -> Iterator[PayloadLine]:
    """Yield the lines of a payload in its order, or those below a value of it, with the first ITEMS_AT_MOST items of
    each list. A path is written as `alerts[0].labels."odd name"`, a template as
    `{{ payload.alerts[0].labels['odd name'] }}`. There may be very many: show LINES_AT_MOST of them."""
    members: list[tuple[str | int, Any]] = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        members = list(enumerate(value[:ITEMS_AT_MOST]))
    for step, child in members:
        if isinstance(step, int):
            name = f"[{step}]"
            child_path, child_template = path + name, template + name
        else:
            name = step
            is_plain = _PLAIN_NAME.fullmatch(step)
            word = step if is_plain else json.dumps(step, ensure_ascii=False)
            child_path = f"{path}.{word}" if path else word
            is_attribute = is_plain and step not in _NOT_ATTRIBUTES
            child_template = template + (f".{step}" if is_attribute else f"[{quote_text(step)}]")
        is_leaf = not isinstance(child, dict | list) or not child
        example = ""
        if is_leaf:
            text = child if isinstance(child, str) else json.dumps(child, ensure_ascii=False)
            example = text if len(text) <= EXAMPLE_CHARACTERS else f"{text[: EXAMPLE_CHARACTERS - 1]}…"
        yield PayloadLine(name, child_path, f"{{{{ {child_template} }}}}", example, depth, is_leaf)
        yield from list_payload_lines(child, child_path, child_template, depth + 1)


OTHER = "other"  # the preset for a sender without one of its own
FOLDER = Path(__file__).parent / "senders"
# A text in English ("en") and Chinese ("zh").
Words = Mapping[str, str]


@dataclass(frozen=True)
class Preset:
    """A ready-made sender. `scheme`: how its calls are verified. `is_alert`: a new channel opens incidents."""

    words: Words
    scheme: str
    step_words: tuple[Words, ...]
    mapping: ChannelMapping
    is_alert: bool

    @property
    def label(self) -> str:
        return _choose_text(self.words)

    @property
    def steps(self) -> list[str]:
        """Steps to take at the sender, one sentence each."""
        return [_choose_text(words) for words in self.step_words]


def _choose_text(words: Words) -> str:
    return words["zh" if (get_language() or "").startswith("zh") else "en"]


_DOCUMENTS = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.toml")}
# In the order of their positions on the page.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        name: Preset(
            words=one["label"],
            scheme=one["scheme"],
            step_words=tuple(one["steps"]),
            mapping=ChannelMapping.from_document(one.get("mapping")),
            is_alert=one.get("is_alert", False),
        )
        for name, one in sorted(_DOCUMENTS.items(), key=lambda each: each[1]["position"])
    }
)
