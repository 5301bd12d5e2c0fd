"""The parts of template cards. Each knows its fields and refuses what WeCom would. Source: see template_cards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from integrations.clients.wecom.messages.builders import used
from integrations.clients.wecom.messages.limits import (
    MessageError,
    check_bytes,
    check_count,
    check_link,
    check_unique,
    utf8_size,
)

KEY_BYTES = 1024
OPTION_ID_BYTES = 128
TASK_ID_BYTES = 128
URL_BYTES = 2048
MENU_ENTRIES_AT_MOST = 3
SELECTION_OPTIONS_AT_MOST = 10
CHECKBOX_OPTIONS_AT_MOST = 20
NARROWEST, WIDEST = 1.3, 2.25
_TASK_ID = re.compile(r"[0-9A-Za-z_\-@]+")
_CARD = "template_card."


class Part(Protocol):
    """A part that may stand in a list; `where` names its place in an error."""

    def fields(self, where: str) -> dict[str, Any]:
        """As WeCom's documentation calls them. Raises MessageError, which names `where` and the field."""


def listed(name: str, parts: Sequence[Part], limit: int, *, at_least: int = 0) -> list[dict[str, Any]]:
    """The fields of each part. Raises MessageError for too many or too few."""
    check_count(f"{_CARD}{name}", len(parts), limit, at_least=at_least)
    return [part.fields(f"{_CARD}{name}[{index}]") for index, part in enumerate(parts)]


def check_task_id(task_id: str) -> None:
    """Raises MessageError unless it has 1 to TASK_ID_BYTES letters, digits, _ - or @."""
    check_bytes(f"{_CARD}task_id", task_id, TASK_ID_BYTES)
    if not _TASK_ID.fullmatch(task_id):
        raise MessageError(f"{_CARD}task_id", "letters, digits and _ - @ only")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a click leads: `url`, or `appid` and `pagepath` of a mini-program; nothing where all are empty."""

    url: str = ""
    appid: str = ""
    pagepath: str = ""

    @property
    def kind(self) -> int:
        """WeCom's number: 0 nowhere, 1 an address, 2 a mini-program."""
        if self.url:
            return 1
        return 2 if self.appid else 0

    def target_fields(self, where: str) -> dict[str, Any]:
        """`type` and what belongs to it. Raises MessageError for an address and a mini-program at once, or too long
        ones.
        """
        if self.url and self.appid:
            raise MessageError(f"{where}.url", "either an address or a mini-program")
        if self.pagepath and not self.appid:
            raise MessageError(f"{where}.appid", "pagepath needs it")
        check_link(f"{where}.url", self.url, URL_BYTES, is_optional=True)
        check_bytes(f"{where}.appid", self.appid, OPTION_ID_BYTES, is_optional=True)
        check_bytes(f"{where}.pagepath", self.pagepath, KEY_BYTES, is_optional=True)
        return {"type": self.kind, **used({"url": self.url, "appid": self.appid, "pagepath": self.pagepath})}


@dataclass(frozen=True, slots=True)
class CardAction(Target):
    """Where a click on the whole card leads."""

    def fields(self, where: str) -> dict[str, Any]:
        return self.target_fields(f"{_CARD}{where}")


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends, in the first line. `colour`: 0 grey, 1 black, 2 red, 3 green."""

    text: str = ""
    icon_url: str = ""
    colour: int = 0

    def fields(self) -> dict[str, Any]:
        check_link(f"{_CARD}source.icon_url", self.icon_url, is_optional=True)
        utf8_size(f"{_CARD}source.desc", self.text)
        check_choice(f"{_CARD}source.desc_color", self.colour, range(4))
        return {**used({"icon_url": self.icon_url, "desc": self.text}), "desc_color": self.colour}


def check_choice(field: str, value: int, choices: range) -> None:
    """Raises MessageError for a number that is not among the choices."""
    if value not in choices:
        raise MessageError(field, f"{choices.start} to {choices.stop - 1}")


@dataclass(frozen=True, slots=True)
class ActionMenu:
    """The "…" menu: one to three entries of (text, key)."""

    entries: Sequence[tuple[str, str]]
    description: str = ""

    def fields(self) -> dict[str, Any]:
        check_count(f"{_CARD}action_menu.action_list", len(self.entries), MENU_ENTRIES_AT_MOST, at_least=1)
        for index, (text, key) in enumerate(self.entries):
            check_bytes(f"{_CARD}action_menu.action_list[{index}].text", text, KEY_BYTES)
            check_bytes(f"{_CARD}action_menu.action_list[{index}].key", key, KEY_BYTES)
        check_unique(f"{_CARD}action_menu.action_list.key", [key for _text, key in self.entries])
        utf8_size(f"{_CARD}action_menu.desc", self.description)
        return used(
            {"desc": self.description, "action_list": [{"text": text, "key": key} for text, key in self.entries]}
        )


@dataclass(frozen=True, slots=True)
class Quote(Target):
    """A quotation, which may lead somewhere."""

    title: str = ""
    text: str = ""

    def fields(self) -> dict[str, Any]:
        where = f"{_CARD}quote_area"
        utf8_size(f"{where}.title", self.title)
        utf8_size(f"{where}.quote_text", self.text)
        return {**self.target_fields(where), **used({"title": self.title, "quote_text": self.text})}


@dataclass(frozen=True, slots=True)
class HorizontalItem:
    """A line of name and value; a click opens `url`, the attachment `media_id` or the member `userid`."""

    name: str
    value: str = ""
    url: str = ""
    media_id: str = ""
    userid: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.keyname", self.name, KEY_BYTES)
        utf8_size(f"{where}.value", self.value)
        check_link(f"{where}.url", self.url, is_optional=True)
        kinds = [number for number, value in ((1, self.url), (2, self.media_id), (3, self.userid)) if value]
        if len(kinds) > 1:
            raise MessageError(f"{where}.type", "one of url, media_id and userid")
        return {
            "keyname": self.name,
            **used({"value": self.value, "url": self.url, "media_id": self.media_id, "userid": self.userid}),
            "type": kinds[0] if kinds else 0,
        }


@dataclass(frozen=True, slots=True)
class VerticalItem:
    """A heading with a text below it."""

    title: str
    text: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.title", self.title, KEY_BYTES)
        utf8_size(f"{where}.desc", self.text)
        return used({"title": self.title, "desc": self.text})


@dataclass(frozen=True, slots=True)
class Jump(Target):
    """A line at the foot of a notice that leads somewhere."""

    title: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.title", self.title, KEY_BYTES)
        return {"title": self.title, **self.target_fields(where)}


@dataclass(frozen=True, slots=True)
class Emphasis:
    """A large figure and what it is."""

    title: str = ""
    text: str = ""

    def fields(self) -> dict[str, Any]:
        utf8_size(f"{_CARD}emphasis_content.title", self.title)
        utf8_size(f"{_CARD}emphasis_content.desc", self.text)
        return used({"title": self.title, "desc": self.text})


@dataclass(frozen=True, slots=True)
class CardImage:
    """A large picture; `aspect_ratio`: width by height, 1.3 to 2.25."""

    url: str
    aspect_ratio: float = NARROWEST

    def fields(self) -> dict[str, Any]:
        check_link(f"{_CARD}card_image.url", self.url)
        if not NARROWEST <= self.aspect_ratio <= WIDEST:
            raise MessageError(f"{_CARD}card_image.aspect_ratio", f"{NARROWEST} to {WIDEST}")
        return {"url": self.url, "aspect_ratio": self.aspect_ratio}


@dataclass(frozen=True, slots=True)
class ImageTextArea(Target):
    """A picture with a text beside it, which may lead somewhere."""

    image_url: str = ""
    title: str = ""
    text: str = ""

    def fields(self) -> dict[str, Any]:
        where = f"{_CARD}image_text_area"
        check_link(f"{where}.image_url", self.image_url)
        utf8_size(f"{where}.title", self.title)
        utf8_size(f"{where}.desc", self.text)
        shown = used({"title": self.title, "desc": self.text, "image_url": self.image_url})
        return {**self.target_fields(where), **shown}


@dataclass(frozen=True, slots=True)
class Button:
    """A button: with `key` a click comes as a callback, with `url` it opens. `style`: 1 to 4."""

    text: str
    key: str = ""
    url: str = ""
    style: int = 1

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.text", self.text, KEY_BYTES)
        check_choice(f"{where}.style", self.style, range(1, 5))
        if bool(self.key) == bool(self.url):
            raise MessageError(f"{where}.key", "either a key or a url")
        if self.url:
            check_link(f"{where}.url", self.url)
            return {"text": self.text, "style": self.style, "type": 1, "url": self.url}
        check_bytes(f"{where}.key", self.key, KEY_BYTES)
        return {"text": self.text, "style": self.style, "type": 0, "key": self.key}


@dataclass(frozen=True, slots=True)
class Option:
    """An answer to choose. `is_checked` counts in a checkbox only."""

    option_id: str
    text: str
    is_checked: bool = False


def _options(where: str, options: Sequence[Option], limit: int) -> list[dict[str, Any]]:
    check_count(f"{where}.option_list", len(options), limit, at_least=1)
    for index, option in enumerate(options):
        check_bytes(f"{where}.option_list[{index}].id", option.option_id, OPTION_ID_BYTES)
        check_bytes(f"{where}.option_list[{index}].text", option.text, KEY_BYTES)
    check_unique(f"{where}.option_list.id", [option.option_id for option in options])
    return [{"id": option.option_id, "text": option.text} for option in options]


@dataclass(frozen=True, slots=True)
class Selection:
    """A list to choose one of up to ten answers from; `selected_id`: chosen at first."""

    question_key: str
    options: Sequence[Option]
    title: str = ""
    selected_id: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        place = where if where.startswith(_CARD) else f"{_CARD}{where}"
        check_bytes(f"{place}.question_key", self.question_key, KEY_BYTES)
        utf8_size(f"{place}.title", self.title)
        options = _options(place, self.options, SELECTION_OPTIONS_AT_MOST)
        if self.selected_id and self.selected_id not in [option.option_id for option in self.options]:
            raise MessageError(f"{place}.selected_id", "not the id of an answer")
        named = {"question_key": self.question_key, "title": self.title, "selected_id": self.selected_id}
        return {**used(named), "option_list": options}


@dataclass(frozen=True, slots=True)
class Checkbox:
    """The question of a vote, with up to twenty answers."""

    question_key: str
    options: Sequence[Option]
    allows_several: bool = False

    def fields(self) -> dict[str, Any]:
        where = f"{_CARD}checkbox"
        check_bytes(f"{where}.question_key", self.question_key, KEY_BYTES)
        entries = _options(where, self.options, CHECKBOX_OPTIONS_AT_MOST)
        checked = [option.is_checked for option in self.options]
        if sum(checked) > 1 and not self.allows_several:
            raise MessageError(f"{where}.option_list.is_checked", "one at most, unless several are allowed")
        for entry, is_checked in zip(entries, checked, strict=True):
            entry["is_checked"] = is_checked
        return {"question_key": self.question_key, "mode": int(self.allows_several), "option_list": entries}


@dataclass(frozen=True, slots=True)
class SubmitButton:
    """The button that hands a vote in; WeCom shows 提交 where `text` is empty."""

    key: str
    text: str = ""

    def fields(self) -> dict[str, Any]:
        check_bytes(f"{_CARD}submit_button.key", self.key, KEY_BYTES)
        utf8_size(f"{_CARD}submit_button.text", self.text)
        return used({"text": self.text, "key": self.key})
