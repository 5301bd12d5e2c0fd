"""What is to be on a picture of a page, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Width(StrEnum):
    PHONE = "phone"
    DESKTOP = "desktop"


class Theme(StrEnum):
    LIGHT = "light"
    DARK = "dark"


class Kind(StrEnum):
    PICTURE = "picture"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Options:
    """How a page is shown and cut out. `is_cropped`: only the cards, without the BI's own frame. `cover_ratio`: width
    by height of a cover that is cut from its upper edge, too; 0 for none."""

    width: Width = Width.DESKTOP
    theme: Theme = Theme.LIGHT
    kind: Kind = Kind.PICTURE
    is_cropped: bool = True
    cover_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """`content`: PNG or PDF. `width`, `height`: of a PNG, in CSS pixels. `cover`: PNG; empty where none was asked."""

    content: bytes
    width: int = 0
    height: int = 0
    cover: bytes = b""


@dataclass(frozen=True, slots=True)
class PageMarks:
    """By which CSS selectors a BI's pages are read; they differ by BI and version. Empty: that sign is not known.

    `card`: a card of a dashboard. `ready`: stands in the page once all has drawn: then nothing else is waited for.
    `busy`: stands while something draws. `error`: stands where something could not be drawn.
    """

    card: str = ""
    ready: str = ""
    busy: str = '[aria-busy="true"], .loading, .spinner, .skeleton, .ant-spin-spinning'
    error: str = ""


class Reason(StrEnum):
    """Why there is no picture. Stored in rows."""

    NOT_INSTALLED = "not-installed"
    BROWSER_FAILED = "browser-failed"
    UNREACHABLE = "unreachable"
    SIGN_IN_PAGE = "sign-in-page"
    ERROR_PAGE = "error-page"
    EMPTY = "empty"
    NOT_DRAWN = "not-drawn"
    TOO_LARGE = "too-large"


class SnapshotError(Exception):
    """There is no picture. Its text is the reason alone: addresses carry tokens."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
