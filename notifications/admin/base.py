"""Base classes of the admin pages of pushes: filters, status pills, indexed search by person, mark or name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.directory.groups import DepartmentsSelect
from accounts.models import User
from accounts.users.roles import role_groups
from integrations.admin.base import hide_related_links, own_page
from integrations.admin.base import pill as tone_pill
from integrations.core.admin_pages import AnyModelAdmin
from integrations.models import Department
from notifications.delivery.runs.ownership import ACTING, choose_successor, find_changeable, find_offered_successors
from notifications.models import AlertRule, Incident, Run
from notifications.subscriptions.recipients import list_rules, read_rules

TONES = {
    **dict.fromkeys(["accepted", "finished"], "good"),
    **dict.fromkeys(["failed", "unknown", "missed", "invalid", "unlicensed", "refused"], "bad"),
    "paused": "warn",
}
# The label of a finished run with an error.
LOST_SOME = _("finished, not everybody reached")


class RecipientsMixin(AnyModelAdmin):
    """Adds a tree of departments and attribute rules to the admin of a model with recipients."""

    @admin.display(description=_("attribute rules"))
    def rules(self, addressed: Any) -> SafeString:
        """Show the rules to people with view permission only."""
        return list_rules(read_rules(addressed))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.related_model is Department:
            kwargs["widget"] = DepartmentsSelect(db_field, self.admin_site, using=kwargs.get("using"))
        if db_field.related_model is Group:
            # Same groups as in the search of the select: groups that stand for roles are no recipients.
            kwargs["queryset"] = Group.objects.exclude(pk__in=role_groups())
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class SuccessorForm(forms.Form):
    successor = forms.ModelChoiceField(
        queryset=User.objects.none(), required=False, label=_("Successor"), empty_label=_("nobody")
    )


class SuccessorPage(AnyModelAdmin):
    """Adds a page that chooses who takes over when the owner is disabled."""

    def get_urls(self) -> list[URLPattern]:
        name = f"notifications_{self.opts.model_name}_successor"
        view = self.admin_site.admin_view(self.successor_view)
        return [path("<int:pk>/successor/", view, name=name), *super().get_urls()]

    def successor_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose among people whom the administrator sees and who may own the row."""
        editor = administrator(request)
        if not editor.has_perm(f"notifications.change_{self.opts.model_name}"):
            raise PermissionDenied
        row = find_changeable(self.model, pk, editor)
        if row is None:
            raise Http404
        form = SuccessorForm(
            request.POST if request.method == "POST" else None, initial={"successor": row.successor_id}
        )
        field: Any = form.fields["successor"]
        field.queryset = find_offered_successors(row, editor)
        if not field.queryset.exists():  # adding a person here would not help: a new one may not own it either
            field.disabled, field.help_text = True, gettext("Nobody whom you see may take it over.")
        if form.is_valid():
            if not (sentence := choose_successor(row, form.cleaned_data["successor"])):
                messages.success(request, gettext("The successor was saved."))
                return HttpResponseRedirect(reverse(f"admin:notifications_{self.opts.model_name}_change", args=[pk]))
            form.add_error("successor", sentence)
        context = {"title": gettext("Successor"), "row": row, "form": form, "acts": isinstance(row, ACTING)}
        return own_page(self, request, "admin/notifications/successor.html", context)


class RowsList(ChangeList):
    """Loads for all rows of a page at once what their columns show additionally."""

    model_admin: RowsAdmin

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = self.read_rows()
        self.model_admin.describe_rows(request, self.result_list)

    def read_rows(self) -> list[Any]:
        return list(self.result_list)


class RowsAdmin(AnyModelAdmin):
    """Base of admins whose lists and pages show more than the columns of their rows."""

    list_class: type[RowsList] = RowsList

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return self.list_class

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Set additional values on the rows of a list page for their columns."""

    def row_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return additional template context for the page of a row that the person may see."""
        return {}

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Load the row once per GET request, although several methods ask for it."""
        known: Any = request
        if request.method == "GET" and getattr(known, "row_opened", (None,))[0] == (self, object_id):
            return known.row_opened[1]
        row = super().get_object(request, object_id, from_field)
        known.row_opened = (self, object_id), row
        return row

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        extra: dict[str, Any] = {**(extra_context or {})}
        row = self.get_object(request, unquote(object_id)) if object_id else None
        if row is not None and self.has_view_permission(request, row):
            extra |= self.row_context(request, row)
        return super().changeform_view(request, object_id, form_url, extra)


class Column:
    """A column of a list, of a log's CSV file, and of the facts of a row's page. `value`: the text for the file; times
    are in the zone of the page. `shown`: HTML for pages, if different. `ordering`: the database column that the list
    may be sorted by."""

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

    def __call__(self, row: Any) -> Any:
        if self.shown is not None:
            return self.shown(row)
        value = self.value(row)
        return moment(value) if value is None or isinstance(value, datetime) else value

    def as_text(self, row: Any) -> str:
        value = self.value(row)
        return format_plain_moment(value) if value is None or isinstance(value, datetime) else str(value)


class OptionFilter(admin.SimpleListFilter):
    """A filter by named conditions. `options`: value → label and a function that narrows the rows."""

    title = _("status")
    parameter_name = "state"
    options: ClassVar[Mapping[str, tuple[Any, Callable[[Any], QuerySet[Any]]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, label) for value, (label, _narrow) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        option = self.options.get(self.value() or "")
        return queryset if option is None else option[1](queryset)


def pill(value: str, text: object) -> SafeString:
    return tone_pill(TONES.get(value, "quiet"), text)


def show_severity(row: AlertRule | Incident) -> SafeString:
    tone = {"critical": "bad", "warning": "warn"}.get(row.severity, "quiet")
    return tone_pill(tone, row.get_severity_display())


def run_pill(run: Run) -> SafeString:
    """Show the run's state. A finished run that missed somebody or had no recipients is not shown as a success."""
    if run.status == Run.Status.FINISHED and not run.recipient_count:
        return tone_pill("warn", describe_run_state(run))
    if run.status == Run.Status.FINISHED and run.error:
        return tone_pill("bad", describe_run_state(run))
    return pill(run.status, describe_run_state(run))


def describe_run_state(run: Run) -> str:
    if run.status == Run.Status.FINISHED and not run.recipient_count:
        return gettext("finished, reached nobody")
    if run.status == Run.Status.FINISHED and run.error:
        return str(LOST_SOME)
    return str(run.get_status_display())


def count_run_people(run: Run) -> tuple[int | str, int | str]:
    """Return the numbers of recipients and of skipped people; dashes until the run is rendered."""
    return ("—", "—") if run.rendered_at is None else (run.recipient_count, run.skipped_count)


def moment(value: datetime | None) -> str:
    """Format a time in the zone of the page, as HTML."""
    return "—" if value is None else format_html("<time>{}</time>", format_plain_moment(value))


def format_plain_moment(value: datetime | None) -> str:
    """Format a time in the zone of the page, as text; empty for None."""
    return "" if value is None else f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"


class PartPermissions:
    """Permissions of an inline: people who may change `whole`, a model of this app, may change its parts."""

    whole: str

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"notifications.view_{self.whole}") or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"notifications.change_{self.whole}")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)


def find_row(request: HttpRequest, rows: QuerySet[Any], pk: int, may: Callable[[HttpRequest, Any], bool]) -> Any:
    """Return the row if the person may see it. Raises Http404 if not, PermissionDenied if `may` returns False."""
    row = rows.filter(pk=pk).first()
    if row is None:
        raise Http404
    if not may(request, row):
        raise PermissionDenied
    return row


def is_key(text: str) -> bool:
    """Return whether `text` can be a primary key."""
    return text.isascii() and text.isdigit() and len(text) < 19


def administrator(request: HttpRequest) -> User:
    """Return the signed-in person. The admin site has already refused anonymous users."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user


def for_person(form_class: Any, request: HttpRequest, names: list[str]) -> Any:
    """Set the person of the form class, and hide the links to related pages of the selects in `names`."""
    form_class.person = administrator(request)
    for name in names:
        hide_related_links(form_class, name)
    return form_class
