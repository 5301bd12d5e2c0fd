"""Template cards and news as the templates draw them: links checked, choices marked, nothing left to decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wecom_sandbox.messages.inbox import CardView

_COLOURS = ("gray", "black", "red", "green")
_LOOPBACK = ("localhost", "127.0.0.1")


class Part(dict[str, Any]):
    """An object of a message for a template: what the wire leaves out is an empty text."""

    def __missing__(self, name: str) -> str:
        return ""


def href(url: object) -> str:
    """The address when a tap may open it (http and https), else ""."""
    text = url if isinstance(url, str) else ""
    return text if text.lower().startswith(("http://", "https://")) else ""


def picture(url: object) -> dict[str, str]:
    """`src` when the picture stands on this machine (no others are loaded), and where it stands."""
    text = href(url)
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        host = ""
    return {"src": text if host in _LOOPBACK else "", "host": host}


def articles(content: Mapping[str, Any]) -> list[Part]:
    return [
        Part(article, href=href(article.get("url")), picture=picture(article.get("picurl")))
        for article in _rows(content, "articles")
    ]


def card(content: Mapping[str, Any], view: CardView | None) -> Part:
    """A template card for templates/messages/template_card.html."""
    shown = view.card if view is not None and view.card is not None else content
    selected = view.selected if view is not None else {}
    submit = part(shown, "submit_button")
    greyed = (view.replace_name if view is not None else "") or str(shown.get("replace_text", ""))
    return Part(
        source=_source(part(shown, "source")),
        menu=_menu(part(shown, "action_menu")),
        title=part(shown, "main_title"),
        emphasis=part(shown, "emphasis_content"),
        quote=_linked(part(shown, "quote_area")),
        text=shown.get("sub_title_text", ""),
        image=picture(part(shown, "card_image").get("url")) if shown.get("card_image") else None,
        ratio=_ratio(part(shown, "card_image").get("aspect_ratio")),
        area=_area(part(shown, "image_text_area")),
        vertical=_rows(shown, "vertical_content_list"),
        rows=[_horizontal(row) for row in _rows(shown, "horizontal_content_list")],
        jumps=[_linked(row) for row in _rows(shown, "jump_list")],
        href=href(part(shown, "card_action").get("url")),
        questions=_questions(shown, selected),
        buttons=[_button(row, greyed) for row in _rows(shown, "button_list")],
        submit={"key": submit.get("key", ""), "text": submit.get("text") or "提交"} if submit else None,
        greyed=greyed,
    )


def part(card: Mapping[str, Any], name: str) -> Part:
    """An object inside a card; an empty one where there is none."""
    value = card.get(name)
    return Part(value) if isinstance(value, Mapping) else Part()


def _rows(card: Mapping[str, Any], name: str) -> list[Part]:
    value = card.get(name)
    return [Part(row) for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _ratio(value: object) -> int:
    """Width to height in tenths, 13 to 22: the style sheet has one rule for each.

    Brought between the two before it is counted with: in a card that shows no picture nobody has looked at it, and in
    a passive reply it may be infinite or no number.
    """
    return int(min(2.2, max(1.3, value)) * 10) if isinstance(value, int | float) else 13


def _menu(menu: Part) -> Part:
    return Part(menu, action_list=_rows(menu, "action_list"))


def _source(source: Part) -> Part:
    colour = source.get("desc_color")
    name = _COLOURS[colour] if isinstance(colour, int) and 0 <= colour < len(_COLOURS) else _COLOURS[0]
    return Part(source, colour=name, icon=picture(source.get("icon_url")))


def _linked(block: Part) -> Part:
    return Part(block, href=href(block.get("url"))) if block else block


def _area(area: Part) -> Part:
    return Part(_linked(area), picture=picture(area.get("image_url"))) if area else area


def _horizontal(row: Part) -> Part:
    kind = row.get("type", 0)
    link = href(row.get("url")) if kind == 1 else ""
    return Part(row, href=f"/sandbox/media/{row.get('media_id')}" if kind == 2 else link)


def _button(button: Part, greyed: str) -> Part:
    is_link = button.get("type") == 1
    return Part(
        button,
        style=button.get("style", 1),
        href=href(button.get("url")) if is_link else "",
        disabled=bool(greyed) and not is_link,
    )


def _questions(shown: Mapping[str, Any], selected: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Votes as boxes, selections as lists; what was chosen (or suggested by the card) is marked."""
    found = []
    parts = [(part(shown, "checkbox"), True), (part(shown, "button_selection"), False)]
    parts += [(row, False) for row in _rows(shown, "select_list")]
    for question, is_vote in parts:
        if not question:
            continue
        name = str(question.get("question_key", ""))
        chosen = selected.get(name)
        suggested = {str(question.get("selected_id", ""))}
        options = [
            {
                "id": option.get("id", ""),
                "text": option.get("text", ""),
                "chosen": (str(option.get("id")) in chosen)
                if chosen is not None
                else (option.get("is_checked") is True or str(option.get("id")) in suggested),
            }
            for option in _rows(question, "option_list")
        ]
        kind = ("checkbox" if question.get("mode") == 1 else "radio") if is_vote else "select"
        found.append(
            {
                "key": name,
                "title": question.get("title", ""),
                "kind": kind,
                "options": options,
                "disabled": question.get("disable") is True,
            }
        )
    return found
