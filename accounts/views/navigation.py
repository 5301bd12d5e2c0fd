"""What the pages of employees lead to: the tabs under every page, and the entries on top of the home page.

Higher apps, and whoever joins a BI platform, register in AppConfig.ready(): accounts imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.functional import _StrPromise


@dataclass(frozen=True, slots=True)
class Tab:
    """A page that every employee has. `url_name`: without arguments. `place`: the lowest stands first."""

    url_name: str
    label: str | _StrPromise
    place: int


@dataclass(frozen=True, slots=True)
class HomeEntry:
    """A button on top of the home page that leads on, such as into the BI platform. `note`: what one finds there."""

    label: str
    url: str
    note: str = ""


HomeEntryProvider = Callable[["HttpRequest"], "list[HomeEntry]"]

_tabs: dict[str, Tab] = {}
_home_entries: list[HomeEntryProvider] = []


def register_tab(*, url_name: str, label: str | _StrPromise, place: int) -> None:
    _tabs.setdefault(url_name, Tab(url_name, label, place))


def tabs() -> list[Tab]:
    return sorted(_tabs.values(), key=lambda tab: tab.place)


def register_home_entry(provider: HomeEntryProvider) -> None:
    """`provider` gives the entries for the person who asks; none where there is nothing for that person to open.

    Called each time the home page is shown: at most one look-up, and no call to anywhere.
    """
    if provider not in _home_entries:
        _home_entries.append(provider)


def home_entries(request: HttpRequest) -> list[HomeEntry]:
    """The entries of every provider, in the order of registration."""
    return [entry for provider in _home_entries for entry in provider(request)]
