"""Admin pages of the directory: policies, departments, members, and synchronisation runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from copy import copy
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.admin.base import Column, OptionFilter, RowsAdmin, RunPages, VisibleRowsAdmin, format_duration
from accounts.audit import services
from accounts.directory.groups import DepartmentSearch
from accounts.directory.hooks import SYNC_PERMISSION
from accounts.directory.matching import filter_unlinked
from accounts.directory.sync import preview_policy
from accounts.models import AuditEntry, DirectoryPolicy, GivenGroup, LinkConflict, WeComAccount
from accounts.users.bi_identity import EMAIL, is_bi_identity_source
from accounts.users.roles import find_visible_people, sees_all
from integrations import callbacks
from integrations.admin.base import (
    State,
    find_row,
    hide_related_links,
    make_routes,
    show_page,
    show_state,
    show_status,
)
from integrations.core.admin_pages import AnyModelAdmin, ConfirmedChanges, VersionedForm
from integrations.directory import sync
from integrations.directory.events import describe_reception
from integrations.jobs import requests
from integrations.models import Corp, Department, Job, Member, SyncRun


class CompanyFilter(admin.SimpleListFilter):
    """Filter by one of the companies that the user sees."""

    title = _("WeCom company name")
    parameter_name = "company"
    # The lookup from the row to its company.
    path = "corp"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(corp.pk), corp.name) for corp in Corp.objects.visible_to(request.user).only("name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        offered = {choice for choice, _label in self.lookup_choices}
        return queryset.filter(self.make_condition(value)) if value in offered else queryset

    def make_condition(self, value: Any) -> Q:
        return Q(**{self.path: value})


class MemberStateFilter(OptionFilter):
    """Filter by whether a member may sign in, or why not."""

    title = _("state")
    options = {
        "waiting": (_("waits for an administrator"), lambda members: members.filter(waits_since__isnull=False)),
        "able": (_("may sign in"), lambda members: members.filter(pk__in=Member.objects.eligible())),
        "disabled": (
            _("disabled in WeCom"),
            lambda members: members.filter(status=Member.Status.DISABLED, presence=Member.Presence.IN_SCOPE),
        ),
        "out_of_scope": (_("out of scope"), lambda members: members.filter(presence=Member.Presence.OUT_OF_SCOPE)),
        "gone": (
            _("no longer in WeCom"),
            lambda members: members.filter(presence__in=(Member.Presence.DELETED, Member.Presence.MISSING)),
        ),
    }


MATCH_FIELDS = ("match_username", "match_email", "match_mobile", "number_attribute", "number_field")
# Modes of a policy, described by what a run does.
MODES = [
    (DirectoryPolicy.Mode.OFF.value, _("Only copy the directory, and change nobody")),
    (DirectoryPolicy.Mode.LINK.value, _("Link people who are here already")),
    (DirectoryPolicy.Mode.CREATE.value, _("Link people, and create those who are missing")),
]


class DirectoryPolicyForm(VersionedForm):
    """Form of a directory policy. It refuses the mode CREATE while people enter the BI by their e-mail address."""

    class Meta:
        model = DirectoryPolicy
        fields = "__all__"  # the admin limits them by its fieldsets

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "mode" in self.fields:
            if self.instance._state.adding and not self.is_bound:
                # Propose that the first run creates people, unless clean_mode would refuse it.
                Mode = DirectoryPolicy.Mode
                self.initial["mode"] = Mode.LINK if is_bi_identity_source(EMAIL) else Mode.CREATE
            modes: Any = self.fields["mode"]
            modes.choices = MODES
            modes.help_text = _(
                "With the first choice nothing runs at night. People whom the directory has created, linked or put "
                "into groups stay as they are when this is changed."
            )

    def clean_mode(self) -> str:
        """Refuse CREATE if people enter the BI by e-mail: it copies addresses, which people can change in WeCom."""
        mode: str = self.cleaned_data["mode"]
        create = DirectoryPolicy.Mode.CREATE
        if mode == create != self.instance.mode and is_bi_identity_source(EMAIL):
            message = _(
                "People enter the BI by their e-mail, and may change it in WeCom: then they could enter as somebody "
                "else. First choose the loginId attribute, under Guandata BI."
            )
            raise ValidationError(message, code="identity")
        return mode


class SyncPolicyForm(DirectoryPolicyForm):
    """Form of the policy on the page that starts a synchronisation of one company."""

    class Meta:
        model = DirectoryPolicy
        fields = ("mode", "leavers", *MATCH_FIELDS)
        widgets = {"mode": forms.RadioSelect}


@admin.register(DirectoryPolicy)
class DirectoryPolicyAdmin(ConfirmedChanges, AnyModelAdmin):
    """Admin of policies. Only administrators of all companies change them: a policy also links people of no company."""

    empty_list = _(
        "A policy says what synchronising a company's directory does to people here. Without one, members "
        "are only copied."
    )
    list_display = ("corp", "mode", "leavers", "takes_effect", "changed_at")
    list_select_related = ("corp",)
    form = DirectoryPolicyForm
    actions = None
    fieldsets = (
        (None, {"fields": ("corp", "mode")}),
        (_("How people are found"), {"fields": MATCH_FIELDS}),
        (_("Leavers"), {"fields": ("leavers",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DirectoryPolicy]:
        return DirectoryPolicy.objects.visible_to(request.user)

    @admin.display(description=_("changes in WeCom take effect"))
    def takes_effect(self, policy: DirectoryPolicy) -> SafeString | str:
        """Show how soon changes in WeCom take effect. At most three queries for each company."""
        if policy.is_off:
            return "—"
        reception = describe_reception(policy.corp, now=timezone.now())
        return show_status(reception.tone, reception.summary)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and sees_all(request.user)

    def has_change_permission(self, request: HttpRequest, obj: DirectoryPolicy | None = None) -> bool:
        return super().has_change_permission(request, obj) and sees_all(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: DirectoryPolicy | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: DirectoryPolicy | None = None) -> tuple[str, ...]:
        return ("corp",) if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: DirectoryPolicy, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        was_create = change and form.initial.get("mode") == DirectoryPolicy.Mode.CREATE
        if not was_create or obj.mode == DirectoryPolicy.Mode.CREATE:
            return
        # Warn that people keep the groups that the directory has given.
        count = GivenGroup.objects.filter(corp=obj.corp).values("user").distinct().count()
        if count:
            sentence = ngettext(
                "%(count)d person keeps the groups that this directory gave by department. These no longer follow "
                "WeCom: people who leave keep them, too. Remove them by hand where they are not wanted, or let the "
                "directory create and update people again.",
                "%(count)d people keep the groups that this directory gave by department. These no longer follow "
                "WeCom: people who leave keep them, too. Remove them by hand where they are not wanted, or let the "
                "directory create and update people again.",
                count,
            )
            messages.warning(request, sentence % {"count": count})

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        hide_related_links(form, "corp", "number_attribute")
        return form


@admin.register(Department)
class DepartmentAdmin(VisibleRowsAdmin):
    """Admin of departments. Its list is the tree of one company: the chosen one, or the first that the user sees."""

    fields = ("corp", "wecom_department_id", "name", "wecom_parent_id", "order", "removed_at")
    search_fields = ("name",)

    def get_urls(self) -> list[URLPattern]:
        search = DepartmentSearch.as_view(admin_site=self.admin_site)
        route = path("search/", self.admin_site.admin_view(search), name="integrations_department_search")
        return [route, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            return super().changelist_view(request, extra_context)
        corps = list(Corp.objects.visible_to(request.user).only("name").order_by("name"))
        wanted = request.GET.get("company", "")
        corp = next((one for one in corps if str(one.pk) == wanted), corps[0] if corps else None)
        context = {
            "title": gettext("Departments"),
            "corps": corps,
            "corp": corp,
            "tree": build_tree(corp) if corp is not None else [],
            "may_open_members": request.user.has_perm("integrations.view_member"),
            **(extra_context or {}),
        }
        return show_page(self, request, "admin/integrations/department/tree.html", context)


def build_tree(corp: Corp) -> list[dict[str, Any]]:
    """List the departments in tree order, each with its depth and number of members in scope. If departments form a
    cycle, they come last as roots, so that none is missing. Two queries."""
    rows = list(Department.objects.filter(corp=corp).present())
    people = Count("members", filter=Q(members__presence=Member.Presence.IN_SCOPE))
    counts = dict(Department.objects.filter(corp=corp).order_by().annotate(people=people).values_list("pk", "people"))
    wecom_ids = {row.wecom_department_id for row in rows}
    # Maps departments to those directly below; None to the roots.
    children: dict[int | None, list[Department]] = defaultdict(list)
    for row in rows:
        children[row.wecom_parent_id if row.wecom_parent_id in wecom_ids else None].append(row)
    tree: list[dict[str, Any]] = []
    seen: set[int] = set()
    for start in (children[None], rows):
        stack = [(row, 0) for row in reversed(start)]
        while stack:
            row, depth = stack.pop()
            if row.pk in seen:
                continue
            seen.add(row.pk)
            tree.append({"department": row, "depth": min(depth, 9), "people_count": counts[row.pk]})
            stack += [(child, depth + 1) for child in reversed(children[row.wecom_department_id])]
    return tree


@admin.register(Member)
class MemberAdmin(RowsAdmin, VisibleRowsAdmin):
    empty_list = _(
        "The members of WeCom's directory are listed here after the first synchronisation, which begins on a "
        "company's page."
    )
    state_columns: Any = (
        Column(
            "in_departments", _("departments"), lambda one: gettext(", ").join(map(str, one.departments.all())) or "—"
        ),
        "state",
        Column("linked_user", _("person"), lambda member: member.shown_user),
    )
    list_display = (
        "userid",
        "name",
        Column("company", _("WeCom company name"), lambda one: one.corp.name, ordering="corp__name"),
        *state_columns,
    )
    list_filter = (CompanyFilter, MemberStateFilter)
    search_fields = ("userid_folded__startswith", "name")
    search_help_text = _("WeCom account from its beginning, or name")
    actions = ("admit",)
    fields = (
        *("corp", "userid", "name", "alias", "position", "mobile", "email", "biz_mail", "number"),
        *(*state_columns, "first_seen_at", "changed_at", "left_at", "waits_since"),
    )
    readonly_fields = state_columns

    @admin.display(description=_("state"))
    def state(self, member: Member) -> SafeString:
        if member.waits_since is not None:
            return show_state(State.WAITING, gettext("waits for an administrator"))
        if member.presence != Member.Presence.IN_SCOPE:
            return show_state(State.FAILED, member.get_presence_display())
        if member.status == Member.Status.DISABLED:
            return show_state(State.DISABLED, member.get_status_display())
        return show_state(State.FINE, member.get_status_display())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        queryset = super().get_queryset(request).select_related("corp")
        department = request.GET.get("departments__id__exact", "")
        if department.isdecimal():
            queryset = queryset.filter(departments=int(department))
        members: QuerySet[Member] = queryset.prefetch_related(
            Prefetch("departments", queryset=Department.objects.only("name", "wecom_department_id").order_by("pk"))
        )
        return members

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        return lookup == "departments__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        member = super().get_object(request, object_id, from_field)
        if member is not None:
            self.describe_rows(request, [member])
        return member

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Set each member's `shown_user`: the linked person if the user sees that person, as a link if allowed."""
        identities = {(one.corp_id, one.userid_folded) for one in rows}
        accounts = WeComAccount.objects.filter(
            corp__in={corp for corp, _userid in identities}, userid_folded__in={userid for _corp, userid in identities}
        )
        visible = accounts.filter(user__in=find_visible_people(request.user)).select_related("user")
        users = {(one.corp_id, one.userid_folded): one.user for one in visible}
        may_open = request.user.has_perm("accounts.view_user")
        for one in rows:
            user = users.get((one.corp_id, one.userid_folded))
            one.shown_user = "—" if user is None else str(user)
            if may_open and user is not None:
                address = reverse("admin:accounts_user_card", args=[user.pk])
                one.shown_user = format_html('<a href="{}">{}</a>', address, user)

    def has_admit_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(SYNC_PERMISSION)

    @admin.action(description=_("Confirm accounts that came back"), permissions=["admit"])
    def admit(self, request: HttpRequest, queryset: QuerySet[Member]) -> None:
        """Confirm accounts that had been deleted in WeCom and came back."""
        waiting = queryset.filter(waits_since__isnull=False)
        admitted = [one for one in waiting if sync.admit_member(member=one, now=timezone.now())]
        for one in admitted:
            self.log_change(request, one, gettext("Account confirmed after it came back."))
        sentence = ngettext("%(count)d account was confirmed.", "%(count)d accounts were confirmed.", len(admitted))
        messages.success(request, sentence % {"count": len(admitted)})


# --- Runs -------------------------------------------------------------------------------------------------------------

# Labels of the counts of changes to people (SyncRun.applied_counts).
APPLIED = {
    "linked": _("people linked"),
    "created": _("people created"),
    "updated": _("people updated"),
    "respelled": _("spellings of WeCom accounts updated"),
    "unlinked": _("people unlinked"),
    "disabled": _("people disabled"),
    "grouped": _("put into groups by department"),
    "ungrouped": _("removed from groups again"),
}


@admin.register(SyncRun)
class SyncRunAdmin(ConfirmedChanges, RunPages):
    """Admin of runs. Setting the policy needs a confirmation; starting or answering a run does not."""

    unconfirmed_pages = frozenset(f"integrations_syncrun_{name}" for name in ("start", "again", "answer"))
    folder = "admin/integrations/syncrun"
    empty_list = _(
        "Each synchronisation of WeCom's directory is listed here. Begin one with “Sync directory now” on a company's "
        "page."
    )
    list_display = (
        *("requested_at", Column("company", _("WeCom company name"), lambda run: run.corp.name), "trigger"),
        Column("status_shown", _("status"), lambda run: show_status(run.status, run.get_status_display())),
        Column("seen", _("people seen"), lambda run: run.seen_count),
        Column("calls", _("calls to WeCom"), lambda run: run.call_count),
        Column(
            "duration_shown",
            _("duration"),
            lambda run: (
                format_duration(run.finished_at - run.started_at) if run.started_at and run.finished_at else "—"
            ),
        ),
    )
    list_filter = ("status", "trigger", CompanyFilter)
    list_select_related = ("corp",)

    class Media:
        css = {"all": ["integrations/corp.css", "accounts/directory.css"]}
        js = ["integrations/live.js"]

    def get_urls(self) -> list[URLPattern]:
        views = {
            ("start/<int:corp_id>/", "start"): require_http_methods(["GET", "POST"])(self.start_view),
            ("policy/<int:corp_id>/", "policy"): require_POST(self.policy_view),
            ("again/<int:corp_id>/", "again"): require_POST(self.again_view),
            ("<int:run_id>/answer/", "answer"): require_POST(self.answer_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SyncRun]:
        runs: QuerySet[SyncRun] = super().get_queryset(request).defer("written", "proposed")
        return runs

    # --- Starting a run -----------------------------------------------------------------------------------------------

    def start_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        """GET: show the page that starts a run. POST: start a run, or redirect to the one under way."""
        corp = _get_corp_or_404(request, corp_id)
        if request.method == "POST":
            return self._start_run(request, corp)
        policy = DirectoryPolicy.objects.filter(corp=corp).first()
        form = SyncPolicyForm(instance=policy) if self._may_set_policy(request, policy) else None
        return self._render_start_page(request, corp, policy, form)

    def policy_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        """Save the policy, then start a run."""
        corp = _get_corp_or_404(request, corp_id)
        policy = DirectoryPolicy.objects.filter(corp=corp).first()
        if not self._may_set_policy(request, policy):
            raise PermissionDenied
        form: Any = SyncPolicyForm(request.POST, instance=policy or DirectoryPolicy(corp=corp))
        with transaction.atomic():  # keeps the row locked from the version check to the save
            if not form.is_valid():
                return self._render_start_page(request, corp, policy, form)
            if form.has_changed():  # save it as the policy's own page does
                policies = self.admin_site.get_model_admin(DirectoryPolicy)
                policies.save_model(request, form.instance, form, change=policy is not None)
                message = policies.construct_change_message(request, form, [], policy is None)
                write = policies.log_addition if policy is None else policies.log_change
                write(request, form.instance, message)
        return self._start_run(request, corp)

    def _start_run(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        """Start a run unless one is under way. Redirect to the run's page, or return its state as JSON."""
        username, manual = request.user.get_username(), SyncRun.Trigger.MANUAL
        run = sync.request_run(corp=corp, trigger=manual, now=timezone.now(), requested_by=username)
        if "application/json" not in request.headers.get("Accept", ""):
            return _redirect_to_run(run)
        url = reverse("admin:integrations_syncrun_state", args=[run.pk])
        return JsonResponse({**self.describe_state(request, run), "url": url})

    def _may_set_policy(self, request: HttpRequest, policy: DirectoryPolicy | None) -> bool:
        policies = self.admin_site.get_model_admin(DirectoryPolicy)
        return (
            policies.has_add_permission(request) if policy is None else policies.has_change_permission(request, policy)
        )

    def _describe_offered_policy(self, request: HttpRequest, run: SyncRun) -> dict[str, Any] | None:
        """Return what a policy would do with the members of this run's copy, and the form that sets the policy. None if
        a policy is on already, or if the user may not set it."""
        policy = DirectoryPolicy.objects.filter(corp=run.corp_id).first()
        is_newest = not SyncRun.objects.filter(corp=run.corp_id, pk__gt=run.pk).exists()
        if run.status != SyncRun.Status.DONE or not is_newest or not self._may_set_policy(request, policy):
            return None
        if policy is not None and not policy.is_off:
            return None
        offered = DirectoryPolicy(corp=run.corp) if policy is None else copy(policy)
        offered.mode = DirectoryPolicy.Mode.LINK if is_bi_identity_source(EMAIL) else DirectoryPolicy.Mode.CREATE
        counts = preview_policy(corp=run.corp, policy=offered)
        if not counts:
            return None
        reasons = {one: counts[one] for one in LinkConflict.Reason if counts[one]}
        return {
            "form": SyncPolicyForm(instance=policy, initial={"mode": offered.mode}),
            "created": counts["created"],
            "linked": counts["linked"],
            "unmatched": sum(reasons.values()),
            "reasons": [(one.label, count) for one, count in reasons.items()],
        }

    def _render_start_page(
        self, request: HttpRequest, corp: Corp, policy: DirectoryPolicy | None, form: SyncPolicyForm | None
    ) -> HttpResponse:
        context = {
            "title": gettext("Directory of “%(corp)s”") % {"corp": corp},
            "corp": corp,
            "mode": dict(MODES)[policy.mode if policy is not None else DirectoryPolicy.Mode.OFF],
            "is_off": policy is None or policy.is_off,
            "form": form,
            "unlinked_count": filter_unlinked(Member.objects.eligible().filter(corp=corp)).count(),
            "reception": describe_reception(corp, now=timezone.now()),
            "runs": SyncRun.objects.filter(corp=corp).defer("written", "proposed")[:10],
        }
        return show_page(self, request, f"{self.folder}/start.html", context)

    def again_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        """Retry the company's events that were given up."""
        corp = _get_corp_or_404(request, corp_id)
        count = callbacks.retry_failed_events(corp=corp, now=timezone.now())
        if count:
            note = gettext("Events that were given up are tried once more.")
            services.record(action=AuditEntry.Action.DONE, subject=corp, note=note, corps=[corp.pk])
        sentence = ngettext("%(count)d event is tried once more.", "%(count)d events are tried once more.", count)
        messages.success(request, sentence % {"count": count})
        return HttpResponseRedirect(reverse("admin:integrations_syncrun_start", args=[corp.pk]))

    # --- One run ------------------------------------------------------------------------------------------------------

    def describe_page(self, request: HttpRequest, run: SyncRun, state: dict[str, Any]) -> dict[str, Any]:
        return {"title": f"{run.corp} {timezone.localtime(run.requested_at):%Y-%m-%d %H:%M}"}

    def answer_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Confirm or refuse the changes for which a run waits."""
        run = find_row(self, request, run_id, to_change=False)
        if not request.user.has_perm(SYNC_PERMISSION):
            raise PermissionDenied
        is_yes = request.POST.get("answer") == "yes"
        answer = sync.confirm_run if is_yes else sync.refuse_run
        if answer(run=run, now=timezone.now()):
            self.log_change(request, run, gettext("Confirmed.") if is_yes else gettext("Refused."))
        else:
            messages.warning(request, gettext("This run no longer waits for an answer."))
        return _redirect_to_run(run)

    def find_job(self, run: SyncRun) -> Job | None:
        """Return the company's job if it still works on this run."""
        is_finished = not run.is_unfinished
        if run.status == SyncRun.Status.DONE:
            later = SyncRun.objects.filter(corp=run.corp_id, status=SyncRun.Status.DONE, pk__gt=run.pk)
            is_finished = run.applied_at is not None or later.exists()
        return None if is_finished else requests.find_newest_job(sync.JOB, run.corp_id)

    def describe_facts(self, request: HttpRequest, run: SyncRun) -> dict[str, Any]:
        job = self.find_job(run)
        is_unfinished = job is not None and job.is_unfinished
        copied = {**dict(SyncRun.Change.choices), "departments": _("departments changed")}
        # Leave out the changes while the run is under way: the page is refreshed often.
        rows = [] if is_unfinished else [*((*one, None) for one in run.proposed), *run.written][: sync.CHANGES_KEPT]
        members = Member.objects.in_bulk([key for key, _kind, _at in rows])
        # Links to lists that are useful after a run.
        lists = (
            ("integrations.view_member", "admin:integrations_member_changelist", gettext("Members")),
            ("accounts.view_linkconflict", "admin:accounts_linkconflict_changelist", gettext("Not linked with WeCom")),
        )
        query = urlencode({"company": run.corp_id})
        visible = [(f"{reverse(url)}?{query}", name) for right, url, name in lists if request.user.has_perm(right)]
        return {
            "is_unfinished": is_unfinished,
            "copied": _label_counts(run.counts, copied),
            "applied": _label_counts(run.applied_counts, APPLIED),
            "question": sync.describe_question(run) if run.status == SyncRun.Status.ASKING else [],
            "explanation": sync.explain_run(run),
            "warnings": sync.describe_warnings(run),
            "may_answer": request.user.has_perm(SYNC_PERMISSION),
            "offer": None if is_unfinished else self._describe_offered_policy(request, run),
            "lists": visible if run.status == SyncRun.Status.DONE and not is_unfinished else [],
            "changes": [
                (members[key], SyncRun.Change(kind).label, datetime.fromisoformat(at) if at else None)
                for key, kind, at in rows
                if key in members
            ],
            "shown": sync.CHANGES_KEPT,
        }


def _get_corp_or_404(request: HttpRequest, corp_id: int) -> Corp:
    """Return the company if the user may sync it. Raises Http404 or PermissionDenied."""
    corp = Corp.objects.visible_to(request.user).filter(pk=corp_id).first()
    if corp is None:
        raise Http404
    if not request.user.has_perm(SYNC_PERMISSION):
        raise PermissionDenied
    return corp


def _redirect_to_run(run: SyncRun) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:integrations_syncrun_change", args=[run.pk]))


def _label_counts(counts: dict[str, int], labels: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the label and the number of each kind that occurs."""
    return [(str(label), counts[name]) for name, label in labels.items() if counts.get(name)]
