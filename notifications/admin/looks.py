"""Pages that look at a form as it stands, over the data of cards: at a report, and at an alert rule.

The page sends its values (never in an address), and sends them again, with a token, until the data is there: workers
fetch it. Nothing is kept of the values. Without scripts the answer is a page of its own, with hidden fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse

from integrations import card_looks
from integrations.models import Card
from notifications import report_drawings, tasks
from notifications.admin.drawings import WithDrawings
from notifications.admin.lists import administrator
from notifications.media.attaching import Plan

# What is about the page itself, or chosen on it anew.
_OWN = frozenset({"csrfmiddlewaretoken", "_asked", "_page"})


class WithLooks(WithDrawings):
    """For a ModelAdmin. `look_template`: what is shown in the page. `look_choices`: what the person chooses beside the
    form, as it is to begin with, and the template of these fields."""

    admin_site: Any
    opts: Any
    look_title: Any
    look_template: str
    look_choices: tuple[Mapping[str, str], str] = (MappingProxyType({}), "")
    has_add_permission: Callable[..., bool]
    has_change_permission: Callable[..., bool]

    def check_may_look(self, request: HttpRequest) -> None:
        """Raises PermissionDenied for whoever may not fill in the form."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied

    def asked(self, request: HttpRequest, cards: Sequence[Card], *, now: datetime) -> card_looks.Look:
        """How far the data of the cards is, which the person must be allowed to see; asked for by the first request."""
        person_id = administrator(request).pk
        token = request.POST.get("_asked") or card_looks.ask(cards, person_id=person_id, now=now)
        return card_looks.look(token, cards, person_id=person_id, now=now)

    def drawn(self, request: HttpRequest, plan: Plan, *, now: datetime) -> dict[str, Any]:
        """For the template: the pictures and files of the plan, which are being made meanwhile."""
        try:
            drawings = report_drawings.begin(plan, by=administrator(request), now=now)
        except report_drawings.TooManyDrawingsError:
            return {"is_busy": True}
        tasks.enqueue_previews(drawings.medium_ids)
        return {"drawings": drawings, "carried": drawings.carried}

    def look_answer(self, request: HttpRequest, look: card_looks.Look | None, context: dict[str, Any]) -> HttpResponse:
        """What the page shows now. `look`: None where nothing needed data. The page asks again while there is a
        token."""
        token = look.token if look is not None else ""
        context = {"waiting": look if token else None, "problem": look.problem if look is not None else "", **context}
        html = render_to_string(self.look_template, context, request)
        if "_page" not in request.POST:
            return JsonResponse({"html": html, "asked": token})
        chosen, choices = self.look_choices
        page = {
            **self.admin_site.each_context(request),
            "title": self.look_title,
            "opts": self.opts,
            "html": html,
            "asked": token,
            "values": list(_values(request, chosen)),
            "choices": choices,
            "chosen": {name.lstrip("_"): request.POST.get(name, first) for name, first in chosen.items()},
        }
        request.current_app = self.admin_site.name  # as Django's own admin views do
        return TemplateResponse(request, "admin/notifications/look_page.html", {**page, **self.look_page(request)})

    def look_page(self, request: HttpRequest) -> dict[str, Any]:
        """What the fields of `look_choices` need."""
        return {}


def _values(request: HttpRequest, chosen: Collection[str]) -> Iterator[tuple[str, str]]:
    """What was sent, to be sent again."""
    for name, values in request.POST.lists():
        if name not in _OWN and name not in chosen:
            yield from ((name, str(value)) for value in values)
