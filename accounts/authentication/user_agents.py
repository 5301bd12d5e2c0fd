"""Recognises browser, device and WeCom client from the user agent.

Rule of WeCom's own JavaScript package (@wecom/jssdk): WeCom says `wxwork/<version>`, WeChat `MicroMessenger` alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


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


# --- What a person calls the program and the device behind a user agent. Pure; a guess for people, never for rights ---

# The order matters: each also names those after it, for the sake of old sites.
_PROGRAMS = (
    ("Edge", re.compile(r"Edg(?:e|A|iOS)?/")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"(?:Chrome|CriOS)/")),
    ("Safari", re.compile(r"Safari/")),
)
_SYSTEMS = (
    ("iPad", re.compile(r"iPad")),
    ("iPhone", re.compile(r"iPhone")),
    ("HarmonyOS", re.compile(r"OpenHarmony|HarmonyOS")),
    ("Android", re.compile(r"Android")),
    ("Windows", re.compile(r"Windows")),
    ("macOS", re.compile(r"Macintosh|Mac OS X")),
    ("Linux", re.compile(r"Linux|X11")),
)
_SURFACES: dict[Surface, _StrPromise] = {
    Surface.WECOM: _("WeCom"),
    Surface.PRIVATE_WECOM: _("WeCom (private deployment)"),
    Surface.WECHAT: _("WeChat"),
}


@dataclass(frozen=True, slots=True)
class Device:
    """`program` and `system`; either may be empty where nothing is known."""

    program: str
    system: str


def device_of(user_agent: str) -> Device:
    surface = _SURFACES.get(surface_of(user_agent))
    program = str(surface) if surface is not None else _first(_PROGRAMS, user_agent)
    return Device(program, _first(_SYSTEMS, user_agent))


def _first(names: tuple[tuple[str, re.Pattern[str]], ...], user_agent: str) -> str:
    return next((name for name, pattern in names if pattern.search(user_agent)), "")
