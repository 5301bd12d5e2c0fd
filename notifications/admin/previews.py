"""Admin mixin for pages that preview a form, and wait for its data, pictures and files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from integrations.admin.base import own_page
from integrations.core.admin_pages import AnyModelAdmin
from integrations.datasources import fetch
from integrations.models import Card
from notifications import tasks
from notifications.admin.base import administrator
from notifications.delivery.rendering import preview_files
from notifications.delivery.rendering.attachments import Plan
from notifications.models import Medium
from notifications.views.media import made_answer

View = Callable[..., HttpResponse]


# What is about the page itself, or chosen on it anew.
_OWN = frozenset({"csrfmiddlewaretoken", "_token", "_page"})


class PreviewMixin(AnyModelAdmin):
    """For a ModelAdmin whose form is previewed as it stands, over the data of cards: a report, and an alert rule.

    `preview_path` and `preview_name`: of the view, and of those of its pictures and files. `preview_template`: what the
    page shows. `preview_choices`: what the person chooses beside the form with its initial value, and the template of
    these fields.
    """

    preview_path: str
    preview_name: str
    preview_title: Any
    preview_template: str
    preview_choices: tuple[Mapping[str, str], str] = (MappingProxyType({}), "")

    def get_urls(self) -> list[URLPattern]:
        views: tuple[tuple[str, View, str], ...] = (
            ("", require_POST(self.preview_view), ""),
            ("<str:token>/", require_safe(self.making_view), "_making"),
            ("<str:token>.<str:extension>", require_safe(self.made_view), "_made"),
        )
        ours = [
            path(f"{self.preview_path}{route}", self.admin_site.admin_view(view), name=f"{self.preview_name}{name}")
            for route, view, name in views
        ]
        return [*ours, *super().get_urls()]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The form as it stands; nothing is saved. Answers by `preview_answer`."""
        raise NotImplementedError

    def check_may_preview(self, request: HttpRequest) -> None:
        """Raises PermissionDenied for whoever may not fill in the form."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied

    def making_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """How far one picture or file of the preview is; with `show`, for pages without scripts: itself, once it is
        made."""
        state = self._state(request, token)
        is_shown = "show" in request.GET
        if state.medium is None:
            if is_shown:
                return TemplateResponse(request, "admin/notifications/making_page.html", {"state": state})
            return JsonResponse({"seconds": state.seconds, "problem": state.problem})
        medium = state.medium
        extension = "svg" if medium.kind == Medium.Kind.PICTURE and not medium.name else medium.extension
        address = reverse(f"admin:{self.preview_name}_made", args=[token, extension])
        if is_shown:
            return HttpResponseRedirect(address)
        return JsonResponse({"address": address, "kind": medium.kind, "width": medium.width, "height": medium.height})

    def made_view(self, request: HttpRequest, token: str, extension: str) -> HttpResponse:
        """The picture or the file itself."""
        return made_answer(self._state(request, token).medium, extension)

    def _state(self, request: HttpRequest, token: str) -> preview_files.State:
        self.check_may_preview(request)
        state = preview_files.state_of(token, by=administrator(request), now=timezone.now())
        if state is None:
            raise Http404
        return state

    def preview_data(self, request: HttpRequest, cards: Sequence[Card], *, now: datetime) -> fetch.DataPreview:
        """How far the data of the cards is, which the person must be allowed to see. The first request starts it."""
        person_id = administrator(request).pk
        token = request.POST.get("_token") or fetch.request_preview(cards, person_id=person_id, now=now)
        return fetch.read_preview(token, cards, person_id=person_id, now=now)

    def drawn(self, request: HttpRequest, plan: Plan, *, now: datetime) -> dict[str, Any]:
        """For the template: the pictures and files of the plan, which are being made meanwhile."""
        try:
            drawings = preview_files.begin(plan, by=administrator(request), now=now)
        except preview_files.TooManyDrawingsError:
            return {"is_busy": True}
        tasks.enqueue_previews(drawings.medium_ids)
        return {"drawings": drawings, "carried": drawings.carried}

    def preview_answer(
        self, request: HttpRequest, data: fetch.DataPreview | None, context: dict[str, Any]
    ) -> HttpResponse:
        """What the page shows now. `data`: None where nothing needed data. The page asks again while there is a
        token."""
        token = data.token if data is not None else ""
        context = {"waiting": data if token else None, "problem": data.problem if data is not None else "", **context}
        html = render_to_string(self.preview_template, context, request)
        if "_page" not in request.POST:
            return JsonResponse({"html": html, "token": token})
        chosen, choices = self.preview_choices
        page = {
            "title": self.preview_title,
            "html": html,
            "token": token,
            "values": list(_values(request, chosen)),
            "choices": choices,
            "chosen": {name.lstrip("_"): request.POST.get(name, first) for name, first in chosen.items()},
        }
        return own_page(self, request, "admin/notifications/preview_page.html", {**page, **self.preview_page(request)})

    def preview_page(self, request: HttpRequest) -> dict[str, Any]:
        """What the fields of `preview_choices` need."""
        return {}


def _values(request: HttpRequest, chosen: Collection[str]) -> Iterator[tuple[str, str]]:
    """What was sent, to be sent again."""
    for name, values in request.POST.lists():
        if name not in _OWN and name not in chosen:
            yield from ((name, str(value)) for value in values)
