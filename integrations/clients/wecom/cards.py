"""The three template cards that the product sends: their parts, and one builder for each. Pure.

Each part refuses a value that WeCom would refuse. Lengths that the documentation only suggests are not checked: WeCom
shortens longer texts. Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236 (page of 2025-09-24),
模板卡片消息.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from integrations.clients.wecom.builders import (
    Content,
    MessageError,
    check_bytes,
    check_count,
    check_link,
    drop_empty,
    utf8_size,
)

KEY_BYTES = 1024
TASK_ID_BYTES = 128
HORIZONTAL_ITEMS_AT_MOST = 6
VERTICAL_ITEMS_AT_MOST = 4
JUMPS_AT_MOST = 3
BUTTONS_AT_MOST = 6
NARROWEST, WIDEST = 1.3, 2.25
_TASK_ID = re.compile(r"[0-9A-Za-z_\-@]+")
_CARD = "template_card."


class Part(Protocol):
    """A part of a list; `where` names its place in an error."""

    def fields(self, where: str) -> dict[str, Any]:
        """Return the part's fields by WeCom's names. Raises MessageError, which names `where` and the field."""


@dataclass(frozen=True, slots=True)
class Source:
    """The sender, in the first line. `colour`: 0 grey, 1 black, 2 red, 3 green."""

    text: str
    colour: int = 0

    def fields(self) -> dict[str, Any]:
        utf8_size(f"{_CARD}source.desc", self.text)
        _check_choice(f"{_CARD}source.desc_color", self.colour, range(4))
        return {**drop_empty({"desc": self.text}), "desc_color": self.colour}


@dataclass(frozen=True, slots=True)
class HorizontalItem:
    """A line of name and value."""

    name: str
    value: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.keyname", self.name, KEY_BYTES)
        utf8_size(f"{where}.value", self.value)
        return {"keyname": self.name, **drop_empty({"value": self.value}), "type": 0}


@dataclass(frozen=True, slots=True)
class VerticalItem:
    """A heading with a text below it."""

    title: str
    text: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.title", self.title, KEY_BYTES)
        utf8_size(f"{where}.desc", self.text)
        return drop_empty({"title": self.title, "desc": self.text})


@dataclass(frozen=True, slots=True)
class Jump:
    """A line at the foot of a notice that leads to `url`."""

    title: str
    url: str

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.title", self.title, KEY_BYTES)
        check_link(f"{where}.url", self.url)
        return {"title": self.title, "type": 1, "url": self.url}


@dataclass(frozen=True, slots=True)
class Emphasis:
    """A large figure with its caption."""

    title: str = ""
    text: str = ""

    def fields(self) -> dict[str, Any]:
        utf8_size(f"{_CARD}emphasis_content.title", self.title)
        utf8_size(f"{_CARD}emphasis_content.desc", self.text)
        return drop_empty({"title": self.title, "desc": self.text})


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
class Button:
    """A button whose click comes as a callback with `key`. `style`: 1 to 4."""

    text: str
    key: str
    style: int = 1

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.text", self.text, KEY_BYTES)
        _check_choice(f"{where}.style", self.style, range(1, 5))
        check_bytes(f"{where}.key", self.key, KEY_BYTES)
        return {"text": self.text, "style": self.style, "type": 0, "key": self.key}


@dataclass(frozen=True, slots=True)
class Head:
    """The head of every card. `url`: the target of a click on the card. `task_id`: unique in the application,
    `[0-9A-Za-z_@-]`, at most 128 bytes."""

    url: str
    title: str = ""
    description: str = ""
    source: Source | None = None
    task_id: str = ""

    def fields(self, card_type: str) -> dict[str, Any]:
        utf8_size(f"{_CARD}main_title.title", self.title)
        utf8_size(f"{_CARD}main_title.desc", self.description)
        if self.task_id:
            check_bytes(f"{_CARD}task_id", self.task_id, TASK_ID_BYTES)
            if not _TASK_ID.fullmatch(self.task_id):
                raise MessageError(f"{_CARD}task_id", "letters, digits and _ - @ only")
        check_link(f"{_CARD}card_action.url", self.url)
        return {
            "card_type": card_type,
            "source": self.source.fields() if self.source else None,
            "main_title": drop_empty({"title": self.title, "desc": self.description}),
            "task_id": self.task_id,
            "card_action": {"type": 1, "url": self.url},
        }


def text_notice(
    head: Head,
    *,
    sub_title: str = "",
    emphasis: Emphasis | None = None,
    horizontal_items: Sequence[HorizontalItem] = (),
    jumps: Sequence[Jump] = (),
) -> Content:
    """Build a notice of text; it needs a title or a subtitle. Raises MessageError."""
    if not head.title and not sub_title:
        raise MessageError(f"{_CARD}main_title.title", "a title or a subtitle is needed")
    utf8_size(f"{_CARD}sub_title_text", sub_title)
    return _card(
        {
            **head.fields("text_notice"),
            "horizontal_content_list": _list_items(horizontal_items),
            "emphasis_content": emphasis.fields() if emphasis else None,
            "sub_title_text": sub_title,
            "jump_list": _list_parts("jump_list", jumps, JUMPS_AT_MOST),
        }
    )


def news_notice(
    head: Head,
    *,
    image: CardImage,
    horizontal_items: Sequence[HorizontalItem] = (),
    vertical_items: Sequence[VerticalItem] = (),
    jumps: Sequence[Jump] = (),
) -> Content:
    """Build a notice with a large picture; it needs a title. Raises MessageError."""
    _require_title(head)
    return _card(
        {
            **head.fields("news_notice"),
            "horizontal_content_list": _list_items(horizontal_items),
            "card_image": image.fields(),
            "vertical_content_list": _list_parts("vertical_content_list", vertical_items, VERTICAL_ITEMS_AT_MOST),
            "jump_list": _list_parts("jump_list", jumps, JUMPS_AT_MOST),
        }
    )


def button_interaction(
    head: Head,
    *,
    buttons: Sequence[Button],
    sub_title: str = "",
    horizontal_items: Sequence[HorizontalItem] = (),
) -> Content:
    """Build a card with one to six buttons; it needs a title and a task_id. Raises MessageError."""
    _require_title(head)
    if not head.task_id:
        raise MessageError(f"{_CARD}task_id", "an interactive card needs one")
    utf8_size(f"{_CARD}sub_title_text", sub_title)
    entries = _list_parts("button_list", buttons, BUTTONS_AT_MOST, at_least=1)
    if len({button.key for button in buttons}) != len(buttons):
        raise MessageError(f"{_CARD}button_list.key", "used twice")
    return _card(
        {
            **head.fields("button_interaction"),
            "horizontal_content_list": _list_items(horizontal_items),
            "sub_title_text": sub_title,
            "button_list": entries,
        }
    )


def _card(fields: dict[str, Any]) -> Content:
    return Content("template_card", drop_empty(fields))


def _list_items(items: Sequence[HorizontalItem]) -> list[dict[str, Any]]:
    return _list_parts("horizontal_content_list", items, HORIZONTAL_ITEMS_AT_MOST)


def _list_parts(name: str, parts: Sequence[Part], limit: int, *, at_least: int = 0) -> list[dict[str, Any]]:
    check_count(f"{_CARD}{name}", len(parts), limit, at_least=at_least)
    return [part.fields(f"{_CARD}{name}[{index}]") for index, part in enumerate(parts)]


def _check_choice(field: str, value: int, choices: range) -> None:
    if value not in choices:
        raise MessageError(field, f"{choices.start} to {choices.stop - 1}")


def _require_title(head: Head) -> None:
    if not head.title:
        raise MessageError(f"{_CARD}main_title.title", "is empty")
