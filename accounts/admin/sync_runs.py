"""Admin pages of directory runs: start one, watch it, answer its question, read what it changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.admin.base import RunPages
from accounts.admin.directory import MODES, CompanyFilter, SyncPolicyForm
from accounts.audit import services
from accounts.directory.hooks import SYNC
from accounts.directory.matching import unlinked
from accounts.models import AuditEntry, DirectoryPolicy, PeopleRun
from integrations import callbacks
from integrations.core.admin_pages import ConfirmedChanges
from integrations.directory import JOB, confirm_run, refuse_run, request_run
from integrations.directory.events import hearing_of
from integrations.directory.sync import explain_run, word_question, word_warnings
from integrations.jobs import requests
from integrations.models import Corp, Job, Member, SyncChange, SyncRun
from integrations.tasks import queue_events

CHANGES_SHOWN = 200
# What the second half of a run has written.
APPLIED = {
    "linked": _("people linked"),
    "created": _("people created"),
    "updated": _("people updated"),
    "respelled": _("WeCom accounts spelt anew"),
    "unlinked": _("people unlinked"),
    "disabled": _("people disabled"),
    "grouped": _("put into groups by department"),
    "ungrouped": _("taken out of groups again"),
}


@admin.register(SyncRun)
class SyncRunAdmin(ConfirmedChanges, RunPages):
    """Setting the policy is confirmed first, as on the policy's own page; beginning and answering a run is not."""

    unconfirmed_pages = frozenset(f"integrations_syncrun_{name}" for name in ("start", "again", "answer"))
    folder = "admin/integrations/syncrun"
    tones = {SyncRun.Status.DONE: "good", SyncRun.Status.ASKING: "warn", SyncRun.Status.FAILED: "bad"}
    empty_list = _(
        "Each synchronisation of WeCom's directory stands here. Begin one with “Sync directory now” on a "
        "company's page."
    )
    list_display = ("requested_at", "company", "trigger", "status", "seen_count", "call_count", "duration_shown")
    list_filter = ("status", "trigger", CompanyFilter)
    list_select_related = ("corp",)

    class Media:
        css = {"all": ["integrations/corp.css", "accounts/directory.css"]}
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
            ("policy/<int:corp_id>/", require_POST(self.policy_view), "policy"),
            ("again/<int:corp_id>/", require_POST(self.again_view), "again"),
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
        corp = _corp(request, corp_id)
        if request.method == "POST":
            return _begin(request, corp)
        policy = DirectoryPolicy.objects.filter(corp=corp).first()
        form = SyncPolicyForm(instance=policy) if self._may_set(request, policy) else None
        return self._start_page(request, corp, policy, form)

    def policy_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        """Save what a run does to people here, then begin one."""
        corp = _corp(request, corp_id)
        policy = DirectoryPolicy.objects.filter(corp=corp).first()
        if not self._may_set(request, policy):
            raise PermissionDenied
        form: Any = SyncPolicyForm(request.POST, instance=policy or DirectoryPolicy(corp=corp))
        with transaction.atomic():  # what is saved stays locked from the comparison to the saving
            if not form.is_valid():
                return self._start_page(request, corp, policy, form)
            if form.has_changed():  # as the policy's own page saves it
                policies = self.admin_site.get_model_admin(DirectoryPolicy)
                policies.save_model(request, form.instance, form, change=policy is not None)
                message = policies.construct_change_message(request, form, [], policy is None)
                write = policies.log_addition if policy is None else policies.log_change
                write(request, form.instance, message)
        return _begin(request, corp)

    def _may_set(self, request: HttpRequest, policy: DirectoryPolicy | None) -> bool:
        policies = self.admin_site.get_model_admin(DirectoryPolicy)
        return (
            policies.has_add_permission(request) if policy is None else policies.has_change_permission(request, policy)
        )

    def _start_page(
        self, request: HttpRequest, corp: Corp, policy: DirectoryPolicy | None, form: SyncPolicyForm | None
    ) -> HttpResponse:
        context = {
            "title": gettext("Directory of “%(corp)s”") % {"corp": corp},
            "corp": corp,
            "mode": dict(MODES)[policy.mode if policy is not None else DirectoryPolicy.Mode.OFF],
            "is_off": policy is None or policy.is_off,
            "form": form,
            "unlinked_count": unlinked(Member.objects.able().filter(corp=corp)).count(),
            "hearing": hearing_of(corp, now=timezone.now()),
            "runs": SyncRun.objects.filter(corp=corp)[:10],
        }
        return self.page(request, "start.html", context)

    def again_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        """Have the events tried once more that were given up."""
        corp = _corp(request, corp_id)
        count, consumers = callbacks.try_again(corp=corp)
        for name in consumers:
            transaction.on_commit(partial(queue_events, corp.pk, name))
        if count:
            note = gettext("Events that were given up are tried once more.")
            services.record(action=AuditEntry.Action.DONE, subject=corp, note=note, corps=[corp.pk])
        sentence = ngettext("%(count)d event is tried once more.", "%(count)d events are tried once more.", count)
        messages.success(request, sentence % {"count": count})
        return HttpResponseRedirect(reverse("admin:integrations_syncrun_start", args=[corp.pk]))

    # --- One run ------------------------------------------------------------------------------------------------------

    def around(self, request: HttpRequest, run: SyncRun, state: dict[str, Any]) -> dict[str, Any]:
        return {"title": f"{run.corp} {timezone.localtime(run.requested_at):%Y-%m-%d %H:%M}"}

    def answer_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Yes or no to what a run asks."""
        run = self.run_of(request, run_id)
        if not request.user.has_perm(SYNC):
            raise PermissionDenied
        is_yes = request.POST.get("answer") == "yes"
        answer = confirm_run if is_yes else refuse_run
        if answer(run=run, now=timezone.now(), answered_by=request.user.get_username()):
            self.log_change(request, run, gettext("Confirmed.") if is_yes else gettext("Refused."))
        else:
            messages.warning(request, gettext("This run does not ask any more."))
        return _to_run(run)

    def find_job(self, run: SyncRun) -> Job | None:
        """The company's job, while it is about this run."""
        people_run = PeopleRun.objects.filter(run=run).first()
        is_done = people_run is not None and not people_run.is_unfinished
        is_over = is_done if run.status == SyncRun.Status.DONE else not run.is_unfinished
        return None if is_over else requests.newest_job(JOB, run.corp_id)

    def facts(self, request: HttpRequest, run: SyncRun) -> dict[str, Any]:
        people_run = PeopleRun.objects.filter(run=run).first()
        job = self.find_job(run)
        is_unfinished = job is not None and job.is_unfinished
        copied = {**dict(SyncChange.Kind.choices), "departments": _("departments changed")}
        changes = SyncChange.objects.filter(run=run).select_related("member").order_by("pk")[:CHANGES_SHOWN]
        return {
            "is_unfinished": is_unfinished,
            "people_run": people_run,
            "copied": _worded(run.counts, copied),
            "applied": _worded(people_run.counts, APPLIED) if people_run is not None else [],
            "question": word_question(run) if run.status == SyncRun.Status.ASKING else [],
            "explanation": explain_run(run),
            "warnings": word_warnings(run),
            "may_answer": request.user.has_perm(SYNC),
            "lists": _lists(request, run) if run.status == SyncRun.Status.DONE and not is_unfinished else [],
            # While a run writes, every look would list them anew.
            "changes": [] if is_unfinished else changes,
            "shown": CHANGES_SHOWN,
        }


def _lists(request: HttpRequest, run: SyncRun) -> list[tuple[str, str]]:
    """Where to look on after a run: the address and its name."""
    lists = (
        ("integrations.view_member", "admin:integrations_member_changelist", gettext("Members")),
        ("accounts.view_linkconflict", "admin:accounts_linkconflict_changelist", gettext("Not linked with WeCom")),
    )
    query = urlencode({"company": run.corp_id})
    return [(f"{reverse(url)}?{query}", name) for right, url, name in lists if request.user.has_perm(right)]


def _corp(request: HttpRequest, corp_id: int) -> Corp:
    """For who may synchronise it."""
    corp = Corp.objects.visible_to(request.user).filter(pk=corp_id).first()
    if corp is None:
        raise Http404
    if not request.user.has_perm(SYNC):
        raise PermissionDenied
    return corp


def _begin(request: HttpRequest, corp: Corp) -> HttpResponseRedirect:
    """Begin a run, or go to the one that is under way."""
    by, manual = request.user.get_username(), SyncRun.Trigger.MANUAL
    return _to_run(request_run(corp=corp, trigger=manual, now=timezone.now(), requested_by=by))


def _to_run(run: SyncRun) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:integrations_syncrun_change", args=[run.pk]))


def _worded(counts: dict[str, int], words: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Word and number of each kind that occurred."""
    return [(str(word), counts[name]) for name, word in words.items() if counts.get(name)]
