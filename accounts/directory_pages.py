"""The pages of directory runs: begin one, watch it, answer what it asks, see what it changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import tasks
from accounts.directory import wording
from accounts.directory.actions import SYNC
from accounts.directory_admin import CompanyFilter, ReadOnly
from accounts.models import DirectoryPolicy, PeopleRun
from integrations.directory import confirm_run, refuse_run, request_run
from integrations.directory import wording as copy_wording
from integrations.directory.hearing import hearing_of
from integrations.models import Corp, SyncChange, SyncRun
from integrations.queueing import queue_on_commit

FOLDER = "admin/integrations/syncrun"
CHANGES_SHOWN = 200
_TONES = {
    SyncRun.Status.DONE: "good",
    SyncRun.Status.ASKING: "warn",
    SyncRun.Status.FAILED: "bad",
}


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnly):
    empty_list = _(
        "Each synchronisation of WeCom's directory stands here. Begin one with “Sync directory now” on a "
        "company's page."
    )
    list_display = ("requested_at", "company", "trigger", "status", "seen_count", "call_count", "duration_shown")
    list_filter = ("status", "trigger", CompanyFilter)
    list_select_related = ("corp",)

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/live.js"]

    @admin.display(description=_("WeCom company name"))
    def company(self, run: SyncRun) -> str:
        return run.corp.name

    @admin.display(description=_("duration"))
    def duration_shown(self, run: SyncRun) -> str:
        return "—" if run.duration is None else str(run.duration).split(".")[0]

    def get_urls(self) -> list[URLPattern]:
        views: list[tuple[str, Any, str]] = [
            ("start/<int:corp_id>/", require_http_methods(["GET", "POST"])(self.start_view), "start"),
            ("<int:run_id>/state/", require_GET(self.state_view), "state"),
            ("<int:run_id>/answer/", require_POST(self.answer_view), "answer"),
        ]
        routes = [
            path(route, self.admin_site.admin_view(view), name=f"integrations_syncrun_{name}")
            for route, view, name in views
        ]
        return [*routes, *super().get_urls()]

    # --- Beginning one ------------------------------------------------------------------------------------------------

    def start_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        """GET: what a run would do, with the button. POST: begin it, or go to the one that is under way."""
        corp = Corp.objects.visible_to(request.user).filter(pk=corp_id).first()
        if corp is None:
            raise Http404
        if not request.user.has_perm(SYNC):
            raise PermissionDenied
        if request.method == "POST":
            run = request_run(
                corp=corp,
                trigger=SyncRun.Trigger.MANUAL,
                now=timezone.now(),
                requested_by=request.user.get_username(),
            )
            _queue(request, run)
            return _to_run(run)
        policy = DirectoryPolicy.objects.filter(corp=corp).first()
        context = {
            "title": gettext("Directory of “%(corp)s”") % {"corp": corp},
            "corp": corp,
            "policy": policy,
            "is_off": policy is None or policy.is_off,
            "hearing": hearing_of(corp, now=timezone.now()),
            "runs": SyncRun.objects.filter(corp=corp)[:10],
        }
        return self._page(request, "start.html", context)

    # --- One run ------------------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None or request.method == "POST" or not self.has_view_permission(request, run):
            return super().change_view(request, object_id, form_url, extra_context)
        state = self._state(request, run)
        changes = SyncChange.objects.filter(run=run).select_related("member").order_by("pk")[:CHANGES_SHOWN]
        context = {"title": str(run), "run": run, "state": state, "changes": changes, "shown": CHANGES_SHOWN}
        return self._page(request, "run.html", context)

    def state_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """What has changed while one looks at the page."""
        return JsonResponse(self._state(request, self._run(request, run_id)))

    def answer_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Yes or no to what a run asks."""
        run = self._run(request, run_id)
        if not request.user.has_perm(SYNC):
            raise PermissionDenied
        is_yes = request.POST.get("answer") == "yes"
        answer = confirm_run if is_yes else refuse_run
        if answer(run=run, now=timezone.now(), answered_by=request.user.get_username()):
            self.log_change(request, run, gettext("Confirmed.") if is_yes else gettext("Refused."))
            if is_yes:
                _queue(request, run)
        else:
            messages.warning(request, gettext("This run does not ask any more."))
        return _to_run(run)

    def _run(self, request: HttpRequest, run_id: int) -> SyncRun:
        run: SyncRun | None = self.get_object(request, str(run_id))
        if run is None:
            raise Http404
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        return run

    def _state(self, request: HttpRequest, run: SyncRun) -> dict[str, Any]:
        people_run = PeopleRun.objects.filter(run=run).first()
        context = {
            "run": run,
            "tone": _TONES.get(SyncRun.Status(run.status), "quiet"),
            "people_run": people_run,
            "copied": wording.copied(run),
            "applied": wording.applied(people_run) if people_run is not None else [],
            "question": copy_wording.question(run) if run.status == SyncRun.Status.ASKING else [],
            "explanation": copy_wording.explanation(run),
            "warnings": copy_wording.warnings(run),
            "may_answer": request.user.has_perm(SYNC),
        }
        return {
            "html": render_to_string(f"{FOLDER}/_state.html", context, request),
            "is_unfinished": _is_unfinished(run, people_run),
        }

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name  # as Django's own admin views do
        whole = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **context}
        return TemplateResponse(request, f"{FOLDER}/{template}", whole)


def _is_unfinished(run: SyncRun, people_run: PeopleRun | None) -> bool:
    if run.status != SyncRun.Status.DONE:
        return run.is_active
    return people_run is None or people_run.status in {PeopleRun.Status.WAITING, PeopleRun.Status.RUNNING}


def _queue(request: HttpRequest, run: SyncRun) -> None:
    def unreachable() -> None:
        messages.warning(request, gettext("The queue cannot be reached: the run begins as soon as it can."))

    queue_on_commit(tasks.sync_directory, run.pk, otherwise=unreachable)


def _to_run(run: SyncRun) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:integrations_syncrun_change", args=[run.pk]))
