"""The XML of callbacks: events out, passive replies in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from wecom_sandbox.http.digits import read_integer

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Characters that no XML document may hold, not even escaped.
_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LISTS = frozenset(
    {
        "horizontal_content_list",
        "vertical_content_list",
        "jump_list",
        "button_list",
        "option_list",
        "select_list",
        "action_list",
    }
)
# Names that are one word in a card's JSON and two in the CamelCase of a reply (pages 90241 and 90236).
_ONE_WORD = {
    "key_name": "keyname",
    "check_box": "checkbox",
    "app_id": "appid",
    "page_path": "pagepath",
    "user_id": "userid",
}
_INTEGERS = frozenset({"type", "style", "mode", "desc_color"})


def write(elements: Mapping[str, object]) -> str:
    """<xml>…</xml>: texts as CDATA, numbers bare, a mapping as nested elements, a list as repeated elements."""
    return f"<xml>{_inner(elements)}</xml>"


def _inner(elements: Mapping[str, object]) -> str:
    return "".join(
        f"<{name}>{_value(item)}</{name}>"
        for name, value in elements.items()
        for item in (value if isinstance(value, list) else [value])
    )


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return _inner(value)
    if isinstance(value, int | float):
        return str(value)
    text = _IMPOSSIBLE.sub("\ufffd", str(value))
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def parse(text: bytes) -> Element:
    """Raises ValueError for anything that is not one harmless XML document."""
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ValueError("not XML") from error
    return root


def as_card(element: Element) -> dict[str, object]:
    """<TemplateCard> in CamelCase as the card in JSON: MainTitle/Title becomes main_title.title."""
    card: dict[str, Any] = {}
    for child in element:
        name = _WORD.sub("_", child.tag).lower()
        name = _ONE_WORD.get(name, name)
        value = as_card(child) if len(child) else _scalar(name, child.text or "")
        if name in _LISTS:
            card.setdefault(name, []).append(value)
        else:
            card[name] = value
    return card


def _scalar(name: str, text: str) -> object:
    text = text.strip()
    number = read_integer(text) if name in _INTEGERS else None
    if number is not None:
        return number
    if name in ("is_checked", "disable"):
        return text.lower() in ("true", "1")
    if name == "aspect_ratio":
        try:
            return float(text)
        except ValueError:
            return text
    return text
