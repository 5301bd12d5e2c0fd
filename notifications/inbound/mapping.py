"""Makes a message of a payload by the channel's mapping: title, text, recipients, pictures and files. Pure.

A mapping is stored as JSON. Its paths are JMESPath; a path that finds nothing is ignored. `tree_of` lists the fields of
a payload for an editor, `PRESETS` holds the ready-made mappings of the usual senders.

Each preset is a file in `senders/`, with its words in English and Chinese. Payloads as documented by Grafana (webhook
notifier), Alertmanager (webhook_config), Jenkins (Notification plugin), GitLab (webhook events) and Metabase
(webhooks), and as sent by the code of Superset (reports/notifications/webhook.py), DolphinScheduler (alert-http) and
Nightingale (models/alert_cur_event.go); all read 2026-11-28, Nightingale's 2026-12-01. Guandata's custom push channel
is not documented: its fields are picked from the first payload.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as ReadOnly
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from zoneinfo import ZoneInfo

from django.utils.translation import get_language

from integrations.clients import expressions
from integrations.clients.expressions import TooMuchWork
from integrations.core.sentences import Sentence, SentenceError
from notifications.inbound.content import FILES_AT_MOST, CheckedFile, FileRefusedError, checked
from notifications.inbound.payloads import Payload
from notifications.inbound.recipients import ADDRESSES_AT_MOST, Address, Kind
from notifications.models import IncomingMessage, MessageForm
from notifications.models.inbound import FIGURES_AT_MOST
from notifications.reports.templates import renderer
from notifications.reports.templates.merge_fields import PAYLOAD, quoted
from notifications.reports.templates.renderer import RenderContext
from notifications.reports.templates.values import NOTHING, Exposed, ExpressionError, TemplateError, from_cell
from notifications.sources import Figure

ADDRESS_CHARACTERS = 200
# A float below it is exact to the last digit.
WHOLE_BELOW = 2**53
# Separators of recipients in one text.
_SEPARATORS = str.maketrans(dict.fromkeys(",;|，；、\n\r\t", " "))  # noqa: RUF001  # as people write them
# Members of a file object that hold its name, and its content or address.
_NAMES = ("name", "filename", "fileName", "title")
_CONTENTS = ("content", "base64", "data", "url", "href")
# Stands for a line end inside a value during rendering, because a template puts each value on one line.
_LINE_END = "\ue000"


class MappingError(SentenceError):
    """The mapping does not fit the payload."""


@dataclass(frozen=True)
class Mapping:
    """Mapping of a channel. `title` and `text`: templates. All `_path`s: JMESPath, empty for none.

    `recipient_kind`: a recipients.Kind; empty: the people chosen for the channel. `only_values`: the message is sent
    only if the value at `only_path` is one of these, or is true if there are none. `key_path`: a value, or a list of
    values that form one key. `urgent_values`: values of `severity_path`, in lower case. `figures`: pairs of caption and
    path. `file_paths`: several paths.
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
        """Return the non-empty fields, in the form that a channel stores."""
        return {name: value for name, value in asdict(self).items() if value}


def mapping_from(document: Any) -> Mapping:
    """Read a mapping as a channel stores it. Unknown fields are ignored."""
    found = document if isinstance(document, dict) else {}
    known: dict[str, Any] = {each.name: found[each.name] for each in fields(Mapping) if each.name in found}
    for name in ("only_values", "urgent_values", "file_paths"):
        known[name] = tuple(known.get(name, ()))
    known["figures"] = tuple((caption, path) for caption, path in known.get("figures", ()))
    return Mapping(**known)


@dataclass(frozen=True, slots=True)
class Mapped:
    """Result of a mapping. `addresses`: None for the people chosen for the channel. `key`: empty for none. `urls`: name
    and address of pictures and files still to be fetched; `refused`: reasons why files are not sent."""

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
    """Return the message; None if the mapping's condition excludes it. Raise MappingError."""
    try:
        if not _is_wanted(mapping, payload):
            return None
        return _mapped(mapping, payload, RenderContext(now, zone, values={PAYLOAD: view_of(payload)}))
    except TooMuchWork:
        raise MappingError(Sentence("An expression takes too long on this payload.")) from None
    except TemplateError as error:
        raise MappingError(error.sentence) from error


def check_template(source: str) -> None:
    """Raise TemplateError if the template is invalid."""
    renderer.check(source, [PAYLOAD])


def check_path(path: str) -> None:
    """Raise ExpressionRefused if the path is invalid."""
    if path:
        expressions.check_selection(path)


# --- The message ------------------------------------------------------------------------------------------------------


def _mapped(mapping: Mapping, payload: Payload, given: RenderContext) -> Mapped:
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


def _rendered(template: str, given: RenderContext, form: str) -> str:
    return renderer.render(template, given, form, is_cut=True).replace(_LINE_END, "\n")


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
    """Yield the recipients. One text may name several, and a mail address may follow a name: `Wang
    <wang@example.com>`.
    """
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
    """Return the key as text. The values of a list form one key; it is empty if all of them are."""
    if not isinstance(value, list):
        return _text(value)
    return json.dumps(value, sort_keys=True) if any(_key(one) for one in value) else ""


def _text(value: Any) -> str:
    """Return a single value as text; empty for an object or a list. 123.0 becomes 123, as some senders write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_BELOW:
        return str(int(value))
    if value is None or isinstance(value, dict | list):
        return ""
    shown = from_cell(value)
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
    """Yield name and content of each file: a text, or an object that has both."""
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
    """Decode base64, also inside a data: URL. Raise FileRefusedError."""
    head, _comma, digits = content.partition(",") if content.startswith("data:") else ("", "", content)
    try:
        if head and not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode("".join(digits.split()), validate=True)
    except (binascii.Error, ValueError):
        sentence = Sentence("“%(name)s” is neither base64 nor an address with http or https.")
        raise FileRefusedError(sentence % {"name": name or "file"}) from None


# --- Fields of a payload: as templates see them, and as a tree for the editor ---

SHOWN_CHARACTERS = 4000
# Limits of the tree that an editor sees.
ROWS_AT_MOST = 500
ITEMS_AT_MOST = 5
EXAMPLE_CHARACTERS = 80
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Names with a meaning of their own in a template.
_NOT_ATTRIBUTES = frozenset({"true", "false", "none", "True", "False", "None"})


class PayloadView(Exposed):
    """An object of a payload in a template: `payload.commit.author`, `payload['commit id']`. A missing field has no
    value."""

    __slots__ = ("_members",)

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members

    def get_attribute(self, name: str) -> Any:
        return self._members.get(name, NOTHING)

    def get_item(self, key: object) -> Any:
        if not isinstance(key, str):
            raise ExpressionError(Sentence("Write the name of a field in quotes."))
        return self._members.get(key, NOTHING)

    def text(self) -> str:
        return json.dumps(_plain(self), ensure_ascii=False)[:SHOWN_CHARACTERS]


class ListView(Exposed, tuple[Any, ...]):
    """A list of a payload in a template, which can loop over it, take an item by number, or show it whole."""

    __slots__ = ()

    def get_attribute(self, name: str) -> Any:
        return NOTHING

    def get_item(self, key: object) -> Any:
        return self[key] if isinstance(key, int) and -len(self) <= key < len(self) else NOTHING

    def text(self) -> str:
        values = [one for one in self if isinstance(one, str)]
        if len(values) == len(self):
            return ", ".join(values)[:SHOWN_CHARACTERS]
        return json.dumps(_plain(self), ensure_ascii=False)[:SHOWN_CHARACTERS]


def view_of(payload: Payload) -> Any:
    """Return a payload as templates see it, with _LINE_END in its texts."""
    if isinstance(payload, str):
        payload = payload.replace(_LINE_END, " ").replace("\r\n", "\n").replace("\n", _LINE_END)
    if isinstance(payload, dict):
        return PayloadView({name: view_of(value) for name, value in payload.items()})
    if isinstance(payload, list):
        return ListView(view_of(value) for value in payload)
    return from_cell(payload)


def _plain(value: Any) -> Any:
    if isinstance(value, PayloadView):
        return {name: _plain(one) for name, one in value._members.items()}
    if isinstance(value, ListView):
        return [_plain(one) for one in value]
    if isinstance(value, str | int | bool):
        return value
    return None if value is NOTHING else float(value)


# --- The tree ---------------------------------------------------------------------------------------------------------

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the tree. `path`: in JMESPath; `template`: text that a click inserts. `example`: its value, cut; empty
    for an object or a list. `depth`: from 0."""

    name: str
    path: str
    template: str
    example: str
    depth: int
    is_leaf: bool


def tree_of(payload: Payload) -> list[Row]:
    """Return the first ROWS_AT_MOST lines in the payload's order, with the first ITEMS_AT_MOST items of each list."""
    return list(islice(_rows(payload, ()), ROWS_AT_MOST))


def _rows(value: Payload, steps: Steps) -> Iterator[Row]:
    for step, child in _members(value):
        here = (*steps, step)
        is_leaf = not isinstance(child, dict | list) or not child
        example = _example(child) if is_leaf else ""
        name = str(step) if isinstance(step, str) else f"[{step}]"
        yield Row(name, path_of(here), template_of(here), example, len(steps), is_leaf)
        yield from _rows(child, here)


def _members(value: Payload) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value[:ITEMS_AT_MOST])) if isinstance(value, list) else []


def _example(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[: EXAMPLE_CHARACTERS - 1]}…"


def path_of(steps: Steps) -> str:
    """Write the path in JMESPath: `alerts[0].labels."odd name"`."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        name = step if _PLAIN_NAME.fullmatch(step) else json.dumps(step, ensure_ascii=False)
        path += f".{name}" if path else name
    return path


def template_of(steps: Steps) -> str:
    """Write the path as a template shows it: `{{ payload.alerts[0].labels['odd name'] }}`."""
    name = PAYLOAD
    for step in steps:
        if isinstance(step, int):
            name += f"[{step}]"
        else:
            is_plain = _PLAIN_NAME.fullmatch(step) and step not in _NOT_ATTRIBUTES
            name += f".{step}" if is_plain else f"[{quoted(step)}]"
    return f"{{{{ {name} }}}}"


# --- Ready-made mappings of the usual senders, with their scheme and the steps at the sender ---

OTHER = "other"
FOLDER = Path(__file__).parent / "senders"
# A text in English ("en") and Chinese ("zh").
Words = ReadOnly[str, str]


@dataclass(frozen=True)
class Preset:
    """A ready-made sender. `position`: its place on the page. `is_alert`: a new channel opens incidents."""

    position: int
    words: Words
    scheme: str
    words_of_steps: tuple[Words, ...]
    mapping: Mapping
    is_alert: bool

    @property
    def label(self) -> str:
        return _in_language(self.words)

    @property
    def steps(self) -> list[str]:
        """Steps to take at the sender, one sentence each."""
        return [_in_language(words) for words in self.words_of_steps]


def _in_language(words: Words) -> str:
    return words["zh" if (get_language() or "").startswith("zh") else "en"]


def _read(path: Path) -> Preset:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return Preset(
        document["position"],
        document["label"],
        document["scheme"],
        tuple(document["steps"]),
        mapping_from(document.get("mapping")),
        document.get("is_alert", False),
    )


PRESETS: ReadOnly[str, Preset] = MappingProxyType(
    dict(sorted(((path.stem, _read(path)) for path in FOLDER.glob("*.toml")), key=lambda one: one[1].position))
)
