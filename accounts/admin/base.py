"""Shared parts of admin pages: the right to link people, and pages of read-only rows and of background runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET

from accounts.users import attributes
from integrations.admin.base import ReadRows, own_page
from integrations.admin.jobs import find_visible_jobs, may_retry
from integrations.core.admin_pages import CappedPaginator
from integrations.jobs import requests
from integrations.jobs.registry import describe_job
from integrations.models import Job

# Permissions to change people's two WeCom attributes.
LINK_PERMISSIONS = ("accounts.change_user", "accounts.change_wecomaccount")


def may_link(request: HttpRequest) -> bool:
    """Return whether the user may change WeCom attributes at all; accounts.users.roles decides whose."""
    return request.user.has_perms(LINK_PERMISSIONS) and attributes.has_wecom_attributes(request)


# --- Pages for read-only rows, and for background runs that are watched while they go on ---


class ReadOnly(ReadRows):
    """A read-only list of rows copied from WeCom or written by runs."""

    actions: Any = None
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: Any = super().get_queryset(request)
        visible: QuerySet[Any] = queryset.visible_to(request.user)
        return visible


class OwnPages(ReadOnly):
    """Pages with own templates. `folder`: of the templates; missing ones come from admin/accounts."""

    folder: str

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        templates = [f"{self.folder}/{template}", f"admin/accounts/{template}"]
        return own_page(self, request, templates, {"media": self.media, **context})


class RunPages(OwnPages):
    """The page of a row on which jobs of one `kind` work, and its live state. The jobs' key is the row's key. `tones`:
    colours of the pill, by status."""

    kind: str = ""
    tones: Mapping[str, str] = MappingProxyType({})

    def facts(self, request: HttpRequest, run: Any) -> dict[str, Any]:
        """Return what _state.html shows besides the run's pill and progress."""
        return {}

    def state(self, request: HttpRequest, run: Any) -> dict[str, Any]:
        """Return `html`, `is_unfinished`, and `parts` if the page has several, as integrations/live.js expects."""
        tone = self.tones.get(run.status, "quiet")
        job = self.find_job(run)
        is_seen = job is not None and find_visible_jobs(request).filter(pk=job.pk).exists()
        may_try = job is not None and is_seen and may_retry(request, job)
        shown = {"run": run, "tone": tone, **describe_job(job), "may_retry": may_try, **self.facts(request, run)}
        html = render_to_string(f"{self.folder}/_state.html", shown, request)
        return {"html": html, "is_unfinished": shown["is_unfinished"]}

    def find_job(self, run: Any) -> Job | None:
        """Return the newest job for this row."""
        return requests.newest_job(self.kind, run.pk)

    def page_context(self, request: HttpRequest, run: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return what run.html shows besides the state."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.state_view))
        return [path("<int:run_id>/state/", view, name=self._state_name()), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None or request.method == "POST" or not self.has_view_permission(request, run):
            return super().change_view(request, object_id, form_url, extra_context)
        state, url = self.state(request, run), reverse(f"admin:{self._state_name()}", args=[run.pk])
        shown = {"run": run, "state": state, "state_url": url, **self.page_context(request, run, state)}
        return self.page(request, "run.html", shown)

    def _state_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_state"

    def state_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return JsonResponse(self.state(request, self.run_of(request, run_id)))

    def run_of(self, request: HttpRequest, run_id: int) -> Any:
        """Return the run if the user may see it. Raises Http404 or PermissionDenied."""
        run = self.get_object(request, str(run_id))
        if run is None:
            raise Http404
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        return run
