"""Template cards: the five types, what each needs, and which error WeCom gives for which field."""

from __future__ import annotations

import re
from collections.abc import Callable

from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import fields
from wecom_sandbox.messages.fields import Json, MediaCheck, MemberCheck

INTERACTIVE = frozenset({"button_interaction", "vote_interaction", "multiple_interaction"})
TYPES = INTERACTIVE | {"text_notice", "news_notice"}
_TASK_ID = re.compile(r"[0-9A-Za-z_\-@]{1,128}")


def check(card: Json, *, media: MediaCheck, is_member: MemberCheck, is_update: bool = False) -> Json:
    """The card as it was sent, when WeCom would take it. Raises ApiError.

    `is_update`: it takes the place of another card and needs no task_id of its own: WeCom's examples have none.
    """
    kind = fields.text(card, "card_type", missing=42031)
    if kind not in TYPES:
        raise ApiError(42031)
    for name in ("source", "main_title", "emphasis_content", "button_selection", "card_image", "image_text_area"):
        fields.child(card, name)
    _check_task_id(card, is_needed=not is_update and is_callback_card(card))
    _check_action_menu(card, kind)
    _check_quote(card)
    _check_horizontal(card, media, is_member)
    _check_jumps(card)
    _check_card_action(card, kind)
    _CHECKS[kind](card)
    return card


def is_callback_card(card: Json) -> bool:
    """Whether sending it gives a response_code: it can be updated."""
    return card.get("card_type") in INTERACTIVE or bool(card.get("action_menu"))


def keys(card: Json) -> set[str]:
    """Keys that a click on this card may report: of buttons, of the submit button, of the menu."""
    found = [item.get("key") for item in _rows(card.get("button_list")) if item.get("type", 0) == 0]
    submit = card.get("submit_button")
    if isinstance(submit, dict):
        found.append(submit.get("key"))
    return {str(key) for key in found if key}


def menu_keys(card: Json) -> set[str]:
    """The keys of the menu in the card's upper right corner."""
    menu = card.get("action_menu")
    return {str(item["key"]) for item in _rows(menu.get("action_list"))} if isinstance(menu, dict) else set()


def questions(card: Json) -> dict[str, tuple[set[str], bool]]:
    """question_key to its option ids, and whether several may be chosen."""
    found: dict[str, tuple[set[str], bool]] = {}
    for name in ("checkbox", "button_selection"):
        part = card.get(name)
        if isinstance(part, dict):
            found[str(part.get("question_key"))] = (_option_ids(part), name == "checkbox" and part.get("mode") == 1)
    for part in _rows(card.get("select_list")):
        found[str(part.get("question_key"))] = (_option_ids(part), False)
    return found


def _rows(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _option_ids(part: Json) -> set[str]:
    return {str(option.get("id")) for option in _rows(part.get("option_list"))}


def _check_task_id(card: Json, *, is_needed: bool) -> None:
    """A text even where it is all digits: 7 and "7" would else be two cards with one id."""
    task_id = card.get("task_id") or ""
    if not isinstance(task_id, str) or (is_needed and not task_id) or (task_id and not _TASK_ID.fullmatch(task_id)):
        raise ApiError(42014)


def _check_action_menu(card: Json, kind: str) -> None:
    menu = fields.child(card, "action_menu")
    if not menu:
        return
    if kind in ("vote_interaction", "multiple_interaction"):
        raise fields.invalid("action_menu")
    actions = fields.children(menu, "action_list", least=1, most=3, wrong=40058)
    for action in actions:
        fields.text(action, "text", missing=42038)
    found = [fields.key(action, "key", missing=42019, wrong=42018) for action in actions]
    fields.unique(found, 42051)


def _check_quote(card: Json) -> None:
    _check_jump(fields.child(card, "quote_area"))


def _check_jump(part: Json) -> None:
    """type 0 nothing, 1 url, 2 mini program."""
    kind = fields.number(part, "type", most=2)
    if kind == 1:
        fields.link(part, "url", missing=42028)
    if kind == 2:
        fields.text(part, "appid", missing=42030)


def _check_horizontal(card: Json, media: MediaCheck, is_member: MemberCheck) -> None:
    for row in fields.children(card, "horizontal_content_list", least=0, most=6, wrong=42035):
        fields.text(row, "keyname", missing=42027)
        kind = fields.number(row, "type", most=3)
        if kind == 1:
            fields.link(row, "url", missing=42028)
        elif kind == 2:
            media(fields.text(row, "media_id", missing=42029), "file")
        elif kind == 3 and not is_member(fields.text(row, "userid", missing=42050)):
            raise ApiError(42050)


def _check_jumps(card: Json) -> None:
    for row in fields.children(card, "jump_list", least=0, most=3, wrong=42042):
        fields.text(row, "title", missing=42033)
        _check_jump(row)


def _check_card_action(card: Json, kind: str) -> None:
    action = fields.child(card, "card_action", missing=None if kind in INTERACTIVE else 42045)
    try:
        _check_jump(action)
        chosen = fields.number(action, "type", most=2)
    except ApiError as error:
        raise ApiError(42045) from error
    if kind not in INTERACTIVE and chosen == 0:
        raise ApiError(42045)


def _check_text_notice(card: Json) -> None:
    if not fields.text(fields.child(card, "main_title"), "title") and not fields.text(card, "sub_title_text"):
        raise ApiError(42033)


def _check_main_title(card: Json) -> None:
    fields.text(fields.child(card, "main_title", missing=42033), "title", missing=42033)


def _check_news_notice(card: Json) -> None:
    _check_main_title(card)
    image, area = fields.child(card, "card_image"), fields.child(card, "image_text_area")
    if not area:
        fields.link(image, "url", missing=42044)
    else:
        fields.link(area, "image_url", missing=42028)
        _check_jump(area)
    ratio = image.get("aspect_ratio", 1.3)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1.3 <= ratio <= 2.25:
        raise fields.invalid("aspect_ratio")
    for row in fields.children(card, "vertical_content_list", least=0, most=4, wrong=42036):
        fields.text(row, "title", missing=42033)


def _check_button(card: Json) -> None:
    _check_main_title(card)
    buttons = fields.children(card, "button_list", least=1, most=6, wrong=40058)
    found = []
    for button in buttons:
        fields.text(button, "text", missing=42038)
        fields.number(button, "style", 1, least=1, most=4)
        if fields.number(button, "type", most=1) == 1:
            fields.link(button, "url", missing=42028)
        else:
            found.append(fields.key(button, "key", missing=42039, wrong=42018))
    fields.unique(found, 42018)
    selection = fields.child(card, "button_selection")
    if selection:
        _check_question(selection, most=10)


def _check_vote(card: Json) -> None:
    _check_main_title(card)
    checkbox = fields.child(card, "checkbox", missing=42043)
    fields.number(checkbox, "mode", most=1)
    _check_question(checkbox, most=20)
    _check_submit(card)


def _check_multiple(card: Json) -> None:
    _check_main_title(card)
    lists = fields.children(card, "select_list", least=1, most=3, wrong=42047)
    fields.unique([_check_question(part, most=10) for part in lists], 42043)
    _check_submit(card)


def _check_question(part: Json, *, most: int) -> str:
    question = fields.key(part, "question_key", missing=42043, wrong=42043)
    options = fields.children(part, "option_list", least=1, most=most, wrong=42037)
    for option in options:
        fields.text(option, "text", missing=42041)
    fields.unique([fields.key(option, "id", missing=42040, wrong=42040, most=128) for option in options], 42040)
    return question


def _check_submit(card: Json) -> None:
    submit = fields.child(card, "submit_button", missing=42046)
    fields.key(submit, "key", missing=42046, wrong=42046)
    if submit.get("text") == "":
        raise ApiError(42049)


_CHECKS: dict[str, Callable[[Json], None]] = {
    "text_notice": _check_text_notice,
    "news_notice": _check_news_notice,
    "button_interaction": _check_button,
    "vote_interaction": _check_vote,
    "multiple_interaction": _check_multiple,
}
