"""What the menu at the foot of an app's conversation may look like."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import fields

Json = dict[str, object]
TYPES = frozenset(
    {
        "click",
        "view",
        "scancode_push",
        "scancode_waitmsg",
        "pic_sysphoto",
        "pic_photo_or_album",
        "pic_weixin",
        "location_select",
        "view_miniprogram",
    }
)
_HTTP = re.compile(r"https?://\S+", re.IGNORECASE)
# Errors of a top entry and of one below it: type, name, key, url.
_TOP, _SUB = (40017, 40018, 40019, 40020), (40024, 40025, 40026, 40027)
_TOP_NAME_BYTES, _SUB_NAME_BYTES, _KEY_BYTES, _URL_BYTES = 16, 40, 128, 1024


def buttons_of(menu: Json) -> list[Json]:
    """The entries of a menu, checked. Raises ApiError."""
    buttons = fields.children(menu, "button", least=1, most=3, wrong=40016)
    for button in buttons:
        if button.get("sub_button"):
            _name(button, _TOP_NAME_BYTES, 40018)
            for below in fields.children(button, "sub_button", least=1, most=5, wrong=40023):
                if below.get("sub_button"):
                    raise ApiError(40022)
                _check(below, _SUB_NAME_BYTES, _SUB)
        else:
            _check(button, _TOP_NAME_BYTES, _TOP)
    return buttons


def _check(button: Json, name_bytes: int, codes: tuple[int, int, int, int]) -> None:
    bad_type, bad_name, bad_key, bad_url = codes
    kind = fields.text(button, "type", missing=bad_type)
    if kind not in TYPES:
        raise ApiError(bad_type)
    _name(button, name_bytes, bad_name)
    if kind == "view":
        url = fields.text(button, "url", missing=bad_url)
        if len(url.encode()) > _URL_BYTES:
            raise ApiError(bad_url)
        if not _HTTP.fullmatch(url):
            raise ApiError(40094)
    elif kind == "view_miniprogram":
        fields.text(button, "appid", missing=42030)
        fields.text(button, "pagepath", missing=bad_url)
    else:
        fields.key(button, "key", missing=bad_key, wrong=bad_key, most=_KEY_BYTES)


def _name(button: Json, most: int, wrong: int) -> None:
    if not 1 <= len(fields.text(button, "name", missing=wrong).encode()) <= most:
        raise ApiError(wrong)


def check_row(row: object, *, path: str) -> None:
    """The menu of an app that a seed or the control interface gives. Raises ValueError that names the field."""
    menu = row.get("menu") if isinstance(row, Mapping) else None
    try:
        if isinstance(menu, dict):
            buttons_of(menu)
    except ApiError as error:
        raise ValueError(f"{path}.menu: {error.code} {error.text}") from error
