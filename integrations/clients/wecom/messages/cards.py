"""The five template cards: typed parts and one builder for each type. Pure.

Lengths that the documentation calls suggested are not checked: WeCom shows longer texts shortened, never refuses them.
Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236 (page of 2025-09-24), 模板卡片消息.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from integrations.clients.wecom.messages.builders import Content, used
from integrations.clients.wecom.messages.card_parts import (
    ActionMenu,
    Button,
    CardAction,
    CardImage,
    Checkbox,
    Emphasis,
    HorizontalItem,
    ImageTextArea,
    Jump,
    Quote,
    Selection,
    Source,
    SubmitButton,
    VerticalItem,
    check_task_id,
    listed,
)
from integrations.clients.wecom.messages.limits import MessageError, check_unique, utf8_size

HORIZONTAL_ITEMS_AT_MOST = 6
VERTICAL_ITEMS_AT_MOST = 4
JUMPS_AT_MOST = 3
BUTTONS_AT_MOST = 6
SELECTIONS_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Head:
    """What every card may have. `task_id`: unique in the application, `[0-9A-Za-z_@-]`, at most 128 bytes."""

    title: str = ""
    description: str = ""
    source: Source | None = None
    task_id: str = ""
    action: CardAction | None = None

    def fields(self, card_type: str) -> dict[str, Any]:
        utf8_size("template_card.main_title.title", self.title)
        utf8_size("template_card.main_title.desc", self.description)
        if self.task_id:
            check_task_id(self.task_id)
        return {
            "card_type": card_type,
            "source": self.source.fields() if self.source else None,
            "main_title": used({"title": self.title, "desc": self.description}),
            "task_id": self.task_id,
            "card_action": self.action.fields("card_action") if self.action else None,
        }


@dataclass(frozen=True, slots=True)
class Details:
    """What notices and button cards may have besides: the "…" menu, a quotation, up to six lines, a subtitle."""

    menu: ActionMenu | None = None
    quote: Quote | None = None
    horizontal_items: Sequence[HorizontalItem] = ()

    def fields(self) -> dict[str, Any]:
        items = listed("horizontal_content_list", self.horizontal_items, HORIZONTAL_ITEMS_AT_MOST)
        return {
            "action_menu": self.menu.fields() if self.menu else None,
            "quote_area": self.quote.fields() if self.quote else None,
            "horizontal_content_list": items,
        }


NO_DETAILS = Details()


def text_notice(
    head: Head,
    *,
    sub_title: str = "",
    emphasis: Emphasis | None = None,
    details: Details = NO_DETAILS,
    jumps: Sequence[Jump] = (),
) -> Content:
    """A notice of text; needs a title or a subtitle, and an action for a click on it. Raises MessageError."""
    if not head.title and not sub_title:
        raise MessageError("template_card.main_title.title", "a title or a subtitle is needed")
    _require_action(head)
    return _card(
        head.fields("text_notice"),
        details,
        {
            "emphasis_content": emphasis.fields() if emphasis else None,
            "sub_title_text": sub_title,
            "jump_list": listed("jump_list", jumps, JUMPS_AT_MOST),
        },
    )


def news_notice(
    head: Head,
    *,
    image: CardImage | None = None,
    image_text: ImageTextArea | None = None,
    details: Details = NO_DETAILS,
    vertical_items: Sequence[VerticalItem] = (),
    jumps: Sequence[Jump] = (),
) -> Content:
    """A notice with a picture, large or beside a text; needs a title and an action. Raises MessageError."""
    _require_title(head)
    _require_action(head)
    if image is None and image_text is None:
        raise MessageError("template_card.card_image", "a picture or a picture with text is needed")
    return _card(
        head.fields("news_notice"),
        details,
        {
            "card_image": image.fields() if image else None,
            "image_text_area": image_text.fields() if image_text else None,
            "vertical_content_list": listed("vertical_content_list", vertical_items, VERTICAL_ITEMS_AT_MOST),
            "jump_list": listed("jump_list", jumps, JUMPS_AT_MOST),
        },
    )


def button_interaction(
    head: Head,
    *,
    buttons: Sequence[Button],
    selection: Selection | None = None,
    sub_title: str = "",
    details: Details = NO_DETAILS,
    replace_text: str = "",
) -> Content:
    """One to six buttons; a click comes as a callback or opens an address. Raises MessageError.

    `replace_text`: only where the card replaces another one: shown on the buttons, which are then disabled.
    """
    _require_interaction(head)
    entries = listed("button_list", buttons, BUTTONS_AT_MOST, at_least=1)
    check_unique("template_card.button_list.key", [button.key for button in buttons if button.key])
    return _card(
        head.fields("button_interaction"),
        details,
        {
            "sub_title_text": sub_title,
            "button_selection": selection.fields("button_selection") if selection else None,
            "button_list": entries,
            "replace_text": replace_text,
        },
    )


def vote_interaction(head: Head, *, checkbox: Checkbox, submit: SubmitButton, replace_text: str = "") -> Content:
    """A vote: one question with up to twenty answers. Raises MessageError."""
    _require_interaction(head)
    fields = {"checkbox": checkbox.fields(), "submit_button": submit.fields(), "replace_text": replace_text}
    return _card(head.fields("vote_interaction"), NO_DETAILS, fields)


def multiple_interaction(
    head: Head, *, selections: Sequence[Selection], submit: SubmitButton, replace_text: str = ""
) -> Content:
    """One to three questions with a list of answers each. Raises MessageError."""
    _require_interaction(head)
    entries = listed("select_list", selections, SELECTIONS_AT_MOST, at_least=1)
    check_unique("template_card.select_list.question_key", [selection.question_key for selection in selections])
    fields = {"select_list": entries, "submit_button": submit.fields(), "replace_text": replace_text}
    return _card(head.fields("multiple_interaction"), NO_DETAILS, fields)


def _card(head: dict[str, Any], details: Details, own: dict[str, Any]) -> Content:
    if details.menu is not None and not head["task_id"]:
        raise MessageError("template_card.task_id", "a card with a menu needs one")
    for name in ("sub_title_text", "replace_text"):
        utf8_size(f"template_card.{name}", own.get(name) or "")
    return Content("template_card", used({**head, **details.fields(), **own}))


def _require_title(head: Head) -> None:
    if not head.title:
        raise MessageError("template_card.main_title.title", "is empty")


def _require_action(head: Head) -> None:
    if head.action is None or head.action.kind == 0:
        raise MessageError("template_card.card_action", "a notice needs an action")


def _require_interaction(head: Head) -> None:
    _require_title(head)
    if not head.task_id:
        raise MessageError("template_card.task_id", "an interactive card needs one")
