"""The three template cards that the product sends: their parts, and one builder for each. Pure.

WeCom shows at most six lines, four paragraphs, three jumps (links) and six buttons with different keys, and cuts texts.
Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236 (page of 2025-09-24), 模板卡片消息.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from integrations.clients.wecom.builders import Content, MessageError, check_bytes, check_link, drop_empty_fields

KEY_BYTES = 1024
LINES_AT_MOST = 6
_FIELD_PREFIX = "template_card."
# Two texts of a part, such as a name and its value.
Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """The sender, in the first line. `colour`: 0 grey, 1 black, 2 red, 3 green."""

    text: str
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Button:
    """A button. WeCom reports a click on it by a callback with `key`, at most 1024 bytes. `style`: 1 to 4."""

    text: str
    key: str
    style: int = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The head of every card. `url`: the target of a click on the card. `task_id`: unique in the application,
    `[0-9A-Za-z_@-]`, at most 128 bytes."""

    url: str
    title: str = ""
    description: str = ""
    source: Source | None = None
    task_id: str = ""


def build_text_notice(
    head: Head,
    *,
    sub_title: str = "",
    emphasis: Pair = ("", ""),
    lines: Sequence[Pair] = (),
    jumps: Sequence[Pair] = (),
) -> Content:
    """Build a notice of text; it needs a title or a subtitle. `emphasis`: a large figure and its caption. `lines`:
    names and values. `jumps`: titles and addresses of links at the foot. Raises MessageError."""
    parts = {
        "emphasis_content": _build_pair(*emphasis),
        "sub_title_text": sub_title,
        "jump_list": _build_jumps(jumps),
    }
    return _build_card("text_notice", head, lines, parts, title=head.title or sub_title)


def build_news_notice(
    head: Head,
    *,
    picture_url: str,
    aspect_ratio: float,
    lines: Sequence[Pair] = (),
    paragraphs: Sequence[Pair] = (),
    jumps: Sequence[Pair] = (),
) -> Content:
    """Build a notice with a large picture; it needs a title. Raises MessageError.

    `aspect_ratio`: width by height, 1.3 to 2.25; `paragraphs`: headings and the texts below them; `lines` and `jumps`
    as in build_text_notice.
    """
    check_link(f"{_FIELD_PREFIX}card_image.url", picture_url)
    parts = {
        "card_image": {"url": picture_url, "aspect_ratio": aspect_ratio},
        "vertical_content_list": [_build_pair(*pair) for pair in paragraphs],
        "jump_list": _build_jumps(jumps),
    }
    return _build_card("news_notice", head, lines, parts, title=head.title)


def build_button_interaction(
    head: Head, *, buttons: Sequence[Button], sub_title: str = "", lines: Sequence[Pair] = ()
) -> Content:
    """Build a card with one to six buttons; it needs a title and a task_id. Raises MessageError."""
    entries = [{"text": one.text, "style": one.style, "type": 0, "key": one.key} for one in buttons]
    parts = {"sub_title_text": sub_title, "button_list": entries}
    return _build_card("button_interaction", head, lines, parts, title=head.title)


def _build_card(card_type: str, head: Head, lines: Sequence[Pair], parts: dict[str, Any], *, title: str) -> Content:
    if not title:
        raise MessageError(f"{_FIELD_PREFIX}main_title.title", "is empty")
    check_link(f"{_FIELD_PREFIX}card_action.url", head.url)
    for index, (name, _value) in enumerate(lines):
        check_bytes(f"{_FIELD_PREFIX}horizontal_content_list[{index}].keyname", name, KEY_BYTES)
    fields = {
        "card_type": card_type,
        "source": head.source and {**drop_empty_fields({"desc": head.source.text}), "desc_color": head.source.colour},
        "main_title": _build_pair(head.title, head.description),
        "task_id": head.task_id,
        "card_action": {"type": 1, "url": head.url},
        "horizontal_content_list": [
            {"keyname": name, **drop_empty_fields({"value": value}), "type": 0} for name, value in lines
        ],
        **parts,
    }
    return Content("template_card", drop_empty_fields(fields))


def _build_jumps(jumps: Sequence[Pair]) -> list[dict[str, Any]]:
    return [{"title": title, "type": 1, "url": url} for title, url in jumps]


def _build_pair(title: str, text: str) -> dict[str, Any]:
    return drop_empty_fields({"title": title, "desc": text})
