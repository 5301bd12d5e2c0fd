"""Shared parts of the admin: the right to link people, columns and filters of lists, and pages of background runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.users import attributes
from integrations.admin.base import ReadOnlyAdmin, find_row, make_routes, show_page, show_status
from integrations.admin.jobs import find_visible_jobs, may_retry
from integrations.core.admin_pages import AnyModelAdmin, CappedPaginator
from integrations.jobs import requests
from integrations.jobs.registry import describe_job
from integrations.models import Job


def may_link(request: HttpRequest) -> bool:
    """Return whether the user may link the people whom they may change (roles.find_changeable_people) with WeCom
    members, or set their company. Nobody may before a WeCom company has been enabled."""
    may_change = request.user.has_perms(("accounts.change_user", "accounts.change_wecomaccount"))
    return may_change and attributes.has_wecom_attributes(request)


# --- Lists: columns, filters, and additional values of rows ----------------------------------------------------------


def format_moment(value: datetime | None, *, in_list: bool = False) -> str:
    """Format a time in the page's time zone, as HTML; a dash for None. A list shows the seconds in the tooltip only."""
    text = format_moment_as_text(value)
    if in_list and text:
        return format_html('<time title="{}">{}</time>', text, text[:-3])
    return format_html("<time>{}</time>", text) if text else "—"


def format_moment_as_text(value: datetime | None) -> str:
    """Format a time in the page's time zone, as text; empty for None."""
    return "" if value is None else f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"


def format_duration(lasted: timedelta) -> str:
    """Format a duration in minutes and seconds."""
    minutes, seconds = divmod(round(lasted.total_seconds()), 60)
    if minutes:
        return gettext("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": seconds}
    return gettext("%(count)d s") % {"count": seconds} if seconds else gettext("less than 1 s")


class Column:
    """A column of a list, of a log's csv file, and of the facts on a row's page. `value`: returns the value for the
    file, a text or a time. `shown`: returns the HTML for pages, if different. `ordering`: the database column by which
    the list can be sorted."""

    def __init__(
        self,
        name: str,
        label: Any,
        value: Callable[[Any], Any],
        shown: Callable[[Any], Any] | None = None,
        *,
        ordering: str | None = None,
    ) -> None:
        self.value, self.shown = value, shown
        # The attributes that Django's change list reads.
        self.__name__, self.short_description, self.admin_order_field = name, label, ordering

    def __call__(self, row: Any, *, in_list: bool = True) -> Any:
        value = (self.shown or self.value)(row)
        if type(value) is int:
            return f"{value:,}"
        return format_moment(value, in_list=in_list) if value is None or isinstance(value, datetime) else value

    def as_text(self, row: Any) -> str:
        value = self.value(row)
        return format_moment_as_text(value) if value is None or isinstance(value, datetime) else str(value)


class OptionFilter(admin.SimpleListFilter):
    """A list's filter. `options` maps each of its fixed values to a label and a function that filters the rows."""

    title = _("status")
    parameter_name = "state"
    options: ClassVar[Mapping[str, tuple[Any, Callable[[Any], QuerySet[Any]]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, label) for value, (label, _filter_rows) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        option = self.options.get(self.value() or "")
        return queryset if option is None else option[1](queryset)


class RowsList(ChangeList):
    """A list that reads additional values for all rows of a page at once (RowsAdmin.describe_rows)."""

    model_admin: RowsAdmin

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = self.read_rows()
        self.model_admin.describe_rows(request, self.result_list)

    def read_rows(self) -> list[Any]:
        return list(self.result_list)


class RowsAdmin(AnyModelAdmin):
    """Base of admins whose lists and pages show additional values of rows."""

    list_class: type[RowsList] = RowsList

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return self.list_class

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Set additional values on the rows of a list's page, for its columns."""

    def describe_row(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return additional template context for the page of a row."""
        return {}

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None and request.method == "POST":  # the form has errors, and has changed this object
            row = self.get_object(request, str(row.pk)) or row
        context |= {} if row is None else self.describe_row(request, row)
        return super().render_change_form(request, context, *args, **kwargs)


# --- Pages for read-only rows, and for background runs with their progress --------------------------------------------


class VisibleRowsAdmin(ReadOnlyAdmin):
    """Admin of rows that nobody edits here, because the program writes them. It shows those that the user may see."""

    actions: Any = None
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: Any = super().get_queryset(request)
        visible: QuerySet[Any] = queryset.visible_to(request.user)
        return visible


class RunPages(VisibleRowsAdmin):
    """Admin of runs that background jobs carry out, with a page that shows the run's current state. `kind`: the kind of
    the jobs; the key of a job is the primary key of its run. `folder`: the folder of the templates."""

    folder: str
    kind: str = ""

    def describe_facts(self, request: HttpRequest, run: Any) -> dict[str, Any]:
        """Return additional template context for _state.html, which shows the run's status and progress."""
        return {}

    def describe_state(self, request: HttpRequest, run: Any) -> dict[str, Any]:
        """Return `html` and `is_unfinished` for integrations/live.js. A page with several parts adds `parts`."""
        job = self.find_job(run)
        is_visible = job is not None and find_visible_jobs(request).filter(pk=job.pk).exists()
        is_retryable = job is not None and is_visible and may_retry(request, job)
        context = {"run": run, "state": show_status(run.status, run.get_status_display()), **describe_job(job)}
        context |= {"may_retry": is_retryable, **self.describe_facts(request, run)}
        html = render_to_string(f"{self.folder}/_state.html", context, request)
        return {"html": html, "is_unfinished": context["is_unfinished"]}

    def find_job(self, run: Any) -> Job | None:
        """Return the newest job for this row."""
        return requests.find_newest_job(self.kind, run.pk)

    def describe_page(self, request: HttpRequest, run: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return additional template context for run.html."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        views = {("<int:run_id>/state/", "state"): require_GET(self.state_view)}
        return [*make_routes(self, views), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None or request.method == "POST" or not self.has_view_permission(request, run):
            return super().change_view(request, object_id, form_url, extra_context)
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_state", args=[run.pk])
        state = self.describe_state(request, run)
        context = {"run": run, "state": state, "state_url": url, **self.describe_page(request, run, state)}
        return show_page(self, request, [f"{self.folder}/run.html", "admin/accounts/run.html"], context)

    def state_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return JsonResponse(self.describe_state(request, find_row(self, request, run_id, to_change=False)))
