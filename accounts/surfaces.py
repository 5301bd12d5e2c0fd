"""Which program a page is opened in, told from its user agent.

Rule of WeCom's own JavaScript package (@wecom/jssdk): WeCom says `wxwork/<version>`, WeChat `MicroMessenger` alone.
"""

from __future__ import annotations

import re
from enum import StrEnum

_WECOM = re.compile(r"wxwork/[\d.]+", re.IGNORECASE)
_PRIVATE_WECOM = re.compile(r"wxworklocal/", re.IGNORECASE)
_WECHAT = re.compile(r"micromessenger", re.IGNORECASE)
# Tablets show a page as a computer does. HarmonyOS calls its phones "Phone".
_PHONE = re.compile(r"mobile|android|iphone|ipod|openharmony|harmonyos", re.IGNORECASE)
_TABLET = re.compile(r"ipad|tablet", re.IGNORECASE)


class Surface(StrEnum):
    WECOM = "wecom"
    # WeCom's private deployment: another product with addresses of its own, which the corp's row then names.
    PRIVATE_WECOM = "private-wecom"
    # Plain WeChat cannot sign in to a company's application silently: it counts as an ordinary browser.
    WECHAT = "wechat"
    BROWSER = "browser"

    @property
    def is_inside_wecom(self) -> bool:
        return self in {Surface.WECOM, Surface.PRIVATE_WECOM}


def surface_of(user_agent: str) -> Surface:
    if _WECOM.search(user_agent):
        return Surface.PRIVATE_WECOM if _PRIVATE_WECOM.search(user_agent) else Surface.WECOM
    return Surface.WECHAT if _WECHAT.search(user_agent) else Surface.BROWSER


def is_phone(user_agent: str) -> bool:
    """Whether the page is opened on a phone, in whatever program."""
    return _PHONE.search(user_agent) is not None and _TABLET.search(user_agent) is None
