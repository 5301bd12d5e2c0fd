"""Navigation of the employees' pages: the tabs at the bottom, and the entries of the home page.

Higher apps, and whoever joins a BI platform, register in AppConfig.ready(): accounts imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from integrations.hooks import Hook, Registry

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.functional import _StrPromise


@dataclass(frozen=True, slots=True)
class Tab:
    """A page that every employee has. `url_name`: without arguments."""

    url_name: str
    label: str | _StrPromise


@dataclass(frozen=True, slots=True)
class HomeEntry:
    """A button on top of the home page that leads on, such as into the BI platform. `note`: what one finds there."""

    label: str
    url: str
    note: str = ""


tabs: Registry[Tab] = Registry()

# Asked each time the home page is shown, for the person who asks; none where there is nothing for that person to open.
# At most one look-up, and no call to anywhere.
home_entries: Hook[[HttpRequest], list[HomeEntry]] = Hook()
