"""Admin pages of background jobs: a list, and a page for each job with its progress, its result and a retry."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations.admin.base import ReadOnlyAdmin, View, find_row, make_routes, show_page, show_status
from integrations.core.admin_pages import CappedPaginator
from integrations.jobs import requests
from integrations.jobs.registry import describe_job, kinds, label_job
from integrations.models import Corp, Job
from integrations.models.fields import corp_condition

FOLDER = "admin/integrations/job"


def find_visible_jobs(request: HttpRequest) -> QuerySet[Job]:
    """Return the jobs that the person requested, and other jobs of kinds and companies that the person may see."""
    person = request.user
    visible_kinds = [kind.name for kind in kinds.values() if kind.see and person.has_perm(kind.see)]
    corps = Q(corp__in=Corp.objects.visible_to(person)) if corp_condition(person) else Q()
    return Job.objects.filter(Q(asked_by_id=person.pk) | Q(corps, kind__in=visible_kinds))


def render_state(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Return the HTML of a job's state, and whether the page (integrations/live.js) polls it."""
    kind = kinds.get(job.kind)
    context = {
        **describe_job(job),
        "state": show_status(job.status, job.get_status_display()),
        "template": kind.template if kind is not None and job.status == Job.Status.DONE else "",
        "may_retry": may_retry(request, job),
    }
    return {"html": render_to_string(f"{FOLDER}/_state.html", context, request), "is_unfinished": job.is_unfinished}


def may_retry(request: HttpRequest, job: Job) -> bool:
    kind = kinds.get(job.kind)
    return bool(kind and kind.retry and job.status == Job.Status.FAILED and request.user.has_perm(kind.retry))


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    actions = None
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_display = ("requested_at", "kind_label", "subject", "status_label", "asked_by", "finished_at")
    list_filter = ("status",)
    search_fields = ("subject", "asked_by")
    empty_list = _("Work in the background appears here, with its progress and result.")

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/live.js"]

    @admin.display(description=_("kind"), ordering="kind")
    def kind_label(self, job: Job) -> str:
        return label_job(job)

    @admin.display(description=_("status"), ordering="status")
    def status_label(self, job: Job) -> str:
        return show_status(job.status, job.get_status_display())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return find_visible_jobs(request).select_related("corp").defer("payload", "result")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the menu entry to people who may see a kind of jobs or retry one."""
        needed = {kind.see or kind.retry for kind in kinds.values()} - {""}
        return any(request.user.has_perm(permission) for permission in needed)

    def has_view_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """Let everybody see jobs: get_queryset returns a person's own ones and no forbidden ones."""
        return True

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("<int:job_id>/state/", "state"): require_GET(self.state_view),
            ("<int:job_id>/retry/", "retry"): require_POST(self.retry_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        job = self.get_object(request, object_id)
        if job is None or request.method == "POST":
            return super().change_view(request, object_id, form_url, extra_context)
        context = {
            "title": label_job(job),
            "job": job,
            "state": render_state(request, job),
            "state_url": reverse("admin:integrations_job_state", args=[job.pk]),
        }
        return show_page(self, request, f"{FOLDER}/page.html", context)

    def state_view(self, request: HttpRequest, job_id: int) -> JsonResponse:
        return JsonResponse(render_state(request, find_row(self, request, job_id, to_change=False)))

    def retry_view(self, request: HttpRequest, job_id: int) -> HttpResponseRedirect:
        """Retry a failed job, with the rights of the person who retries."""
        job: Job = find_row(self, request, job_id, to_change=False)
        if job.status == Job.Status.FAILED:
            if not may_retry(request, job):
                raise PermissionDenied
            job = requests.retry_job(job, by=request.user, now=timezone.now())
            self.log_change(request, job, gettext("Tried again."))
        return HttpResponseRedirect(reverse("admin:integrations_job_change", args=[job.pk]))
