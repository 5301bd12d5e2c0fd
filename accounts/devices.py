"""What a person calls the program and the device behind a user agent. Pure; a guess for people, never for rights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from accounts.surfaces import Surface, surface_of

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

# Why in this order? Each names, for old sites' sake, those after it, too.
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
