"""The menu below an application's chat. Source: developer.work.weixin.qq.com/document/path/90231."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from integrations.clients.wecom.messages.limits import MessageError, check_bytes, check_count, check_link

BUTTONS_AT_MOST = 3
SUB_BUTTONS_AT_MOST = 5
TOP_NAME_BYTES = 16
SUB_NAME_BYTES = 40
KEY_BYTES = 128
URL_BYTES = 1024
KEYED_KINDS = frozenset(
    {
        "click",
        "scancode_push",
        "scancode_waitmsg",
        "pic_sysphoto",
        "pic_photo_or_album",
        "pic_weixin",
        "location_select",
    }
)


@dataclass(frozen=True, slots=True)
class MenuButton:
    """One entry: `kind` click and the like with a `key`, view with a `url`, view_miniprogram with `appid` and
    `pagepath`; or no kind and up to five `children`."""

    name: str
    kind: str = ""
    key: str = ""
    url: str = ""
    appid: str = ""
    pagepath: str = ""
    children: Sequence[MenuButton] = ()

    def fields(self, where: str, *, is_top: bool) -> dict[str, Any]:
        """As menu/create takes it; `where` names the entry in an error. Raises MessageError."""
        check_bytes(f"{where}.name", self.name, TOP_NAME_BYTES if is_top else SUB_NAME_BYTES)
        if self.children:
            return self._parent(where, is_top=is_top)
        return {"type": self.kind, "name": self.name, **self._action(where)}

    def _parent(self, where: str, *, is_top: bool) -> dict[str, Any]:
        if not is_top:
            raise MessageError(f"{where}.sub_button", "a menu has two levels")
        if self.kind:
            raise MessageError(f"{where}.type", "an entry with children does nothing itself")
        check_count(f"{where}.sub_button", len(self.children), SUB_BUTTONS_AT_MOST, at_least=1)
        entries = [
            child.fields(f"{where}.sub_button[{index}]", is_top=False) for index, child in enumerate(self.children)
        ]
        return {"name": self.name, "sub_button": entries}

    def _action(self, where: str) -> dict[str, Any]:
        if self.kind in KEYED_KINDS:
            check_bytes(f"{where}.key", self.key, KEY_BYTES)
            return {"key": self.key}
        if self.kind == "view":
            check_link(f"{where}.url", self.url, URL_BYTES)
            return {"url": self.url}
        if self.kind == "view_miniprogram":
            check_bytes(f"{where}.appid", self.appid, KEY_BYTES)
            check_bytes(f"{where}.pagepath", self.pagepath, URL_BYTES)
            return {"appid": self.appid, "pagepath": self.pagepath}
        raise MessageError(f"{where}.type", "not a kind of menu entry")


@dataclass(frozen=True, slots=True)
class Menu:
    """One to three entries."""

    buttons: Sequence[MenuButton]

    def fields(self) -> dict[str, Any]:
        """As menu/create takes it. Raises MessageError."""
        check_count("button", len(self.buttons), BUTTONS_AT_MOST, at_least=1)
        return {"button": [button.fields(f"button[{i}]", is_top=True) for i, button in enumerate(self.buttons)]}
