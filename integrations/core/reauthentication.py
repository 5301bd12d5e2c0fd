"""Admin pages that ask for a confirmation before they change something sensitive.

Whoever finds an open browser must not be able to give rights, read or replace secrets, move addresses or make tokens.
`accounts` registers in its AppConfig.ready() who asks and how; integrations, the lowest app, knows no passwords.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from integrations.hooks import Hook

if TYPE_CHECKING:
    ModelAdminBase = admin.ModelAdmin[Any]
else:
    ModelAdminBase = object

# Asked before a page answers: the answer in its place while its person is not known to be there; None lets it answer.
change_sent: Hook[[HttpRequest], HttpResponseBase | None] = Hook()


class ConfirmedChanges(ModelAdminBase):
    """Everything that is sent to the pages of this admin is confirmed first; before the other bases.

    Not when a page is opened: it may only be read, and asking later loses nothing that was typed.
    Pages that show a secret take a POST, too.
    """

    # Names of pages that take what gives nobody anything: a check to run, a file that is public anyway.
    unconfirmed_pages: frozenset[str] = frozenset()

    @property
    def urls(self) -> list[URLPattern]:
        """Not get_urls(): an admin adds its own pages there, around those of its bases."""
        return [self._confirmed(pattern) for pattern in self.get_urls()]

    def _confirmed(self, pattern: URLPattern) -> URLPattern:
        view, name = pattern.callback, pattern.name
        if name in self.unconfirmed_pages:
            return pattern

        @wraps(view)
        def confirmed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            answer = change_sent.first(request) if request.method == "POST" else None
            if answer is not None:
                return answer
            response: HttpResponseBase = view(request, *args, **kwargs)
            return response

        return URLPattern(pattern.pattern, confirmed, pattern.default_args, name)
