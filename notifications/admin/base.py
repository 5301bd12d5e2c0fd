"""Base classes of the admin pages of pushes: recipients, successors, states."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.directory.groups import DepartmentsSelect
from accounts.models import User
from accounts.users.roles import find_role_groups, find_visible_people
from integrations.admin.base import State, hide_related_links, make_routes, show_page, show_state
from integrations.admin.base import show_status as show_status
from integrations.core.admin_pages import AnyModelAdmin
from integrations.models import Department
from notifications.delivery.runs.ownership import ACTING_MODELS, explain_objection, find_changeable, match_not_stronger
from notifications.models import Run
from notifications.models.inbound import PERMISSION_BACKEND
from notifications.subscriptions.recipients import read_rules

_RUN_STATES = {
    Run.Status.WAITING: State.WAITING,
    Run.Status.SENDING: State.RUNNING,
    Run.Status.FINISHED: State.DONE,
    Run.Status.MISSED: State.FAILED,
    Run.Status.FAILED: State.FAILED,
    Run.Status.SKIPPED: State.DONE,
}


class RecipientsMixin(AnyModelAdmin):
    """Adds a tree of departments and attribute rules to the admin of a model with recipients."""

    @admin.display(description=_("attribute rules"))
    def rules(self, row: Any) -> SafeString:
        """Show the rules, one per line, to people who may only view the row."""
        lines = [(str(one.attribute), one.operator.label, "; ".join(one.values)) for one in read_rules(row)]
        return format_html_join("", "<div>{} {} {}</div>", lines) or format_html("{}", "—")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.related_model is Department:
            kwargs["widget"] = DepartmentsSelect(db_field, self.admin_site, using=kwargs.get("using"))
        if db_field.related_model is Group:
            # Groups that stand for roles cannot be recipients. The select's search excludes them, too.
            kwargs["queryset"] = Group.objects.exclude(pk__in=find_role_groups())
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class SuccessorPage(AnyModelAdmin):
    """Adds a page that chooses who takes over when the owner is disabled."""

    def get_urls(self) -> list[URLPattern]:
        return [*make_routes(self, {("<int:pk>/successor/", "successor"): self.successor_view}), *super().get_urls()]

    def successor_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the choice of a successor, or save it. Offers the people whom the administrator sees and who may own the
        row; for a token or a channel only those with no more rights than its owner."""
        editor, permission = get_administrator(request), f"notifications.change_{self.opts.model_name}"
        if not editor.has_perm(permission):
            raise PermissionDenied
        row = find_changeable(self.model, pk, editor)
        if row is None:
            raise Http404
        form = forms.Form(request.POST if request.method == "POST" else None, initial={"successor": row.successor_id})
        may_manage = User.objects.with_perm(permission, backend=PERMISSION_BACKEND).filter(is_staff=True)
        offered = find_visible_people(editor).filter(pk__in=may_manage).exclude(pk=row.owner_id)
        if isinstance(row, ACTING_MODELS):
            offered = offered.filter(match_not_stronger(row.owner))
        field = forms.ModelChoiceField(offered, required=False, label=_("Successor"), empty_label=gettext("nobody"))
        if not offered.exists():  # disabled, since its link to add a person would not help: a new one may not own it
            field.disabled, field.help_text = True, gettext("Nobody whom you see may take it over.")
        form.fields["successor"] = field
        if form.is_valid():
            successor = row.successor = form.cleaned_data["successor"]
            sentence = "" if successor is None else explain_objection(row, successor)
            if not sentence:
                row.save(update_fields=["successor"])
                messages.success(request, gettext("The successor was saved."))
                return HttpResponseRedirect(reverse(f"admin:notifications_{self.opts.model_name}_change", args=[pk]))
            form.add_error("successor", sentence)
        context = {"title": gettext("Successor"), "row": row, "form": form, "acts": isinstance(row, ACTING_MODELS)}
        return show_page(self, request, "admin/notifications/successor.html", context)


def find_run_state(status: str, error: str, recipient_count: int = 1) -> tuple[State, str]:
    """Return the state of a run with these column values, and a detail to show beside it, which may be empty. A
    finished run with an error did not reach everybody: it is partly delivered."""
    if status == Run.Status.FINISHED and not recipient_count:
        return State.DONE, gettext("reached nobody")
    if status == Run.Status.FINISHED and error:
        return State.PARTLY, ""
    has_detail = status in {Run.Status.MISSED, Run.Status.SKIPPED}
    return _RUN_STATES[Run.Status(status)], str(Run.Status(status).label) if has_detail else ""


def describe_state(state: State, detail: str) -> str:
    """Return the state in plain words, for files."""
    return " · ".join(filter(None, (str(state.label), detail)))


def show_run_state(run: Run) -> SafeString:
    return show_state(*find_run_state(run.status, run.error, run.recipient_count))


def count_run_people(run: Run) -> tuple[int | str, int | str]:
    """Return the numbers of recipients and of skipped people; dashes until the run is rendered."""
    return ("—", "—") if run.rendered_at is None else (run.recipient_count, run.skipped_count)


class PartPermissions:
    """Permissions of an inline. `whole`: the model of this app to which its rows belong. People who may change it may
    also add, change and delete the rows."""

    whole: str

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"notifications.view_{self.whole}") or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"notifications.change_{self.whole}")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)


def is_key(text: str) -> bool:
    """Return whether `text` can be a primary key."""
    return text.isascii() and text.isdigit() and len(text) < 19


def get_administrator(request: HttpRequest) -> User:
    """Return the signed-in person. The admin site has already refused anonymous users."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user


def set_form_person(form_class: Any, request: HttpRequest, names: list[str]) -> Any:
    """Set the person of the form class, and hide the links to related pages of the selects in `names`."""
    form_class.person = get_administrator(request)
    hide_related_links(form_class, *names)
    return form_class
