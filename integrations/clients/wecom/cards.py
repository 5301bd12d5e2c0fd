"""The three template cards that the product sends: their parts, and one builder for each. Pure.

Each part refuses a value that WeCom would refuse. Lengths that the documentation only suggests are not checked: WeCom
shortens longer texts. Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236 (page of 2025-09-24),
模板卡片消息.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from integrations.clients.wecom.builders import (
    Content,
    MessageError,
    check_bytes,
    check_count,
    check_link,
    drop_empty,
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
# Two texts of a part, such as a name and its value.
Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """The sender, in the first line. `colour`: 0 grey, 1 black, 2 red, 3 green."""

    text: str
    colour: int = 0

    def fields(self) -> dict[str, Any]:
        return {**drop_empty({"desc": self.text}), "desc_color": self.colour}


@dataclass(frozen=True, slots=True)
class Button:
    """A button whose click comes as a callback with `key`. `style`: 1 to 4."""

    text: str
    key: str
    style: int = 1

    def fields(self, where: str) -> dict[str, Any]:
        check_bytes(f"{where}.text", self.text, KEY_BYTES)
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
        if self.task_id:
            check_bytes(f"{_CARD}task_id", self.task_id, TASK_ID_BYTES)
            if not _TASK_ID.fullmatch(self.task_id):
                raise MessageError(f"{_CARD}task_id", "letters, digits and _ - @ only")
        check_link(f"{_CARD}card_action.url", self.url)
        return {
            "card_type": card_type,
            "source": self.source.fields() if self.source else None,
            "main_title": _build_pair(self.title, self.description),
            "task_id": self.task_id,
            "card_action": {"type": 1, "url": self.url},
        }


def text_notice(
    head: Head,
    *,
    sub_title: str = "",
    emphasis: Pair = ("", ""),
    lines: Sequence[Pair] = (),
    jumps: Sequence[Pair] = (),
) -> Content:
    """Build a notice of text; it needs a title or a subtitle. `emphasis`: a large figure and its caption. `lines`:
    names and values. `jumps`: titles and addresses at the foot. Raises MessageError."""
    if not head.title and not sub_title:
        raise MessageError(f"{_CARD}main_title.title", "a title or a subtitle is needed")
    return _card(
        {
            **head.fields("text_notice"),
            "horizontal_content_list": _build_lines(lines),
            "emphasis_content": _build_pair(*emphasis),
            "sub_title_text": sub_title,
            "jump_list": _build_jumps(jumps),
        }
    )


def news_notice(
    head: Head,
    *,
    picture_url: str,
    aspect_ratio: float = NARROWEST,
    lines: Sequence[Pair] = (),
    paragraphs: Sequence[Pair] = (),
    jumps: Sequence[Pair] = (),
) -> Content:
    """Build a notice with a large picture; it needs a title. `aspect_ratio`: width by height, 1.3 to 2.25;
    `paragraphs`: headings and the texts below them; `lines` and `jumps` as in text_notice. Raises MessageError."""
    _require_title(head)
    check_link(f"{_CARD}card_image.url", picture_url)
    if not NARROWEST <= aspect_ratio <= WIDEST:
        raise MessageError(f"{_CARD}card_image.aspect_ratio", f"{NARROWEST} to {WIDEST}")
    check_count(f"{_CARD}vertical_content_list", len(paragraphs), VERTICAL_ITEMS_AT_MOST)
    for index, (title, _text) in enumerate(paragraphs):
        check_bytes(f"{_CARD}vertical_content_list[{index}].title", title, KEY_BYTES)
    return _card(
        {
            **head.fields("news_notice"),
            "horizontal_content_list": _build_lines(lines),
            "card_image": {"url": picture_url, "aspect_ratio": aspect_ratio},
            "vertical_content_list": [_build_pair(*pair) for pair in paragraphs],
            "jump_list": _build_jumps(jumps),
        }
    )


def button_interaction(
    head: Head, *, buttons: Sequence[Button], sub_title: str = "", lines: Sequence[Pair] = ()
) -> Content:
    """Build a card with one to six buttons; it needs a title and a task_id. Raises MessageError."""
    _require_title(head)
    if not head.task_id:
        raise MessageError(f"{_CARD}task_id", "an interactive card needs one")
    check_count(f"{_CARD}button_list", len(buttons), BUTTONS_AT_MOST, at_least=1)
    entries = [button.fields(f"{_CARD}button_list[{index}]") for index, button in enumerate(buttons)]
    if len({button.key for button in buttons}) != len(buttons):
        raise MessageError(f"{_CARD}button_list.key", "used twice")
    return _card(
        {
            **head.fields("button_interaction"),
            "horizontal_content_list": _build_lines(lines),
            "sub_title_text": sub_title,
            "button_list": entries,
        }
    )


def _card(fields: dict[str, Any]) -> Content:
    return Content("template_card", drop_empty(fields))


def _build_lines(lines: Sequence[Pair]) -> list[dict[str, Any]]:
    field = f"{_CARD}horizontal_content_list"
    check_count(field, len(lines), HORIZONTAL_ITEMS_AT_MOST)
    for index, (name, _value) in enumerate(lines):
        check_bytes(f"{field}[{index}].keyname", name, KEY_BYTES)
    return [{"keyname": name, **drop_empty({"value": value}), "type": 0} for name, value in lines]


def _build_jumps(jumps: Sequence[Pair]) -> list[dict[str, Any]]:
    check_count(f"{_CARD}jump_list", len(jumps), JUMPS_AT_MOST)
    for index, (title, url) in enumerate(jumps):
        check_bytes(f"{_CARD}jump_list[{index}].title", title, KEY_BYTES)
        check_link(f"{_CARD}jump_list[{index}].url", url)
    return [{"title": title, "type": 1, "url": url} for title, url in jumps]


def _build_pair(title: str, text: str) -> dict[str, Any]:
    return drop_empty({"title": title, "desc": text})


def _require_title(head: Head) -> None:
    if not head.title:
        raise MessageError(f"{_CARD}main_title.title", "is empty")
