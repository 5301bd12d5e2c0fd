"""Admin pages that ask for a confirmation before they change something sensitive.

Whoever finds an open browser must not be able to give rights, read or replace secrets, move addresses or make tokens.
Pages are only marked here: integrations, the lowest app, knows no passwords. accounts asks, in
`accounts.views.confirmation.ConfirmationMiddleware`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.urls import URLPattern

if TYPE_CHECKING:
    ModelAdminBase = admin.ModelAdmin[Any]
else:
    ModelAdminBase = object


class ConfirmedChanges(ModelAdminBase):
    """An admin whose pages take what is sent to them only from a person who has confirmed; before the other bases.

    Opening a page asks nobody: it may only be read, and asking later loses nothing that was typed. Pages that show a
    secret take a POST, too.
    """

    # Names of pages that take what gives nobody anything: a check to run, a file that is public anyway.
    unconfirmed_pages: frozenset[str] = frozenset()

    @property
    def urls(self) -> list[URLPattern]:
        """Mark the pages here and not in get_urls(): an admin adds its own pages there, around those of its bases."""
        patterns = self.get_urls()
        for pattern in patterns:
            if pattern.name not in self.unconfirmed_pages:
                pattern.callback.is_confirmed = True  # type: ignore[attr-defined]  # how Django marks views, too
        return patterns
