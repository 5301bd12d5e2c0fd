"""The menu at the foot of an app's conversation."""

from __future__ import annotations

import re

from integrations.sandbox.api.agent import own_agent
from integrations.sandbox.api.call import APP, Call, Json, endpoint
from integrations.sandbox.errors import ApiError
from integrations.sandbox.messages import fields

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


@endpoint("POST", "menu/create", APP)
def menu_create(call: Call) -> Json:
    app = own_agent(call, call.query.get("agentid"))
    buttons = fields.children(call.document, "button", least=1, most=3, wrong=40016)
    for button in buttons:
        if button.get("sub_button"):
            _name(button, _TOP_NAME_BYTES, 40018)
            for below in fields.children(button, "sub_button", least=1, most=5, wrong=40023):
                if below.get("sub_button"):
                    raise ApiError(40022)
                _check(below, _SUB_NAME_BYTES, _SUB)
        else:
            _check(button, _TOP_NAME_BYTES, _TOP)
    app.menu = {"button": buttons}
    return {}


@endpoint("GET", "menu/get", APP)
def menu_get(call: Call) -> Json:
    app = own_agent(call, call.query.get("agentid"))
    if app.menu is None:
        raise ApiError(46003)
    return dict(app.menu)


@endpoint("GET", "menu/delete", APP)
def menu_delete(call: Call) -> Json:
    own_agent(call, call.query.get("agentid")).menu = None
    return {}


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
