"""Base classes of the admin pages of pushes: filters, status pills, indexed search by person, mark or name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
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
