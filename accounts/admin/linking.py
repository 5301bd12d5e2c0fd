"""The admin page “Not linked with WeCom” (未关联): members without a user, users without a member, and conflicts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.admin.base import VisibleRowsAdmin, may_link
from accounts.directory import linking, matching
from accounts.directory.matching import find_conflicts
from accounts.explanations import REASONS_ABOUT_MEMBERS, explain_missing_link
from accounts.models import DirectoryPolicy, LinkConflict, User, WeComAccount, fold_userid
from accounts.users.roles import find_changeable_people, find_visible_people, sees_all
from accounts.views.confirmation import get_signed_in_person
from integrations.admin.base import make_routes, show_page
from integrations.core.admin_pages import AnyModelForm, ConfirmedChanges, KeysetPage, describe_empty_select, read_page
from integrations.models import Corp, Department, Member

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


def read_key(text: str | None) -> int | None:
    """Parse the key of a row. Returns None for other text."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


class BulkForm(AnyModelForm):
    """Form with the company and the ways to find people, for linking many at once. Its instance is an unsaved policy.
    `editor`: the administrator."""

    match_number = forms.BooleanField(
        label=capfirst(_("by employee number")),
        required=False,
        help_text=_("The directory policy of the company says which attribute holds it."),
    )

    class Meta:
        model = DirectoryPolicy
        fields = ("corp", "match_username", "match_email", "match_mobile")

    def __init__(self, *args: Any, editor: User, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "instance": DirectoryPolicy(mode=DirectoryPolicy.Mode.LINK)})
        self.fields["corp"].queryset = Corp.objects.visible_to(editor)  # type: ignore[attr-defined]  # a ModelChoiceField

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        if chosen.get("match_number") and "corp" in chosen:
            saved = DirectoryPolicy.objects.filter(corp=chosen["corp"]).first()
            if saved is None or saved.number_attribute_id is None:
                self.add_error("match_number", _("The directory policy of this company names no employee number."))
            else:
                self.instance.number_attribute_id = saved.number_attribute_id
                self.instance.number_field = saved.number_field
        return chosen

    def validate_unique(self) -> None:
        """Do nothing: the instance is not saved, so the company may have a policy."""


# --- The page ---------------------------------------------------------------------------------------------------------

LIST = "admin:accounts_linkconflict_changelist"
FOLDER = "admin/accounts/linkconflict"
# Rows on a page of a tab.
ROWS = 50
# The tabs of the page.
SIDES: dict[str, _StrPromise] = {
    "members": _("In WeCom, not here"),
    "users": _("Here, not in WeCom"),
    "conflicts": _("Conflicts"),
}


@admin.register(LinkConflict)
class LinkConflictAdmin(ConfirmedChanges, VisibleRowsAdmin):
    """Admin of LinkConflict: why a member is linked with nobody. The tab of conflicts lists others (find_conflicts)."""

    fields = ("member", "why", "since")
    empty_list = _("All members are linked, or the directory has not been synchronised yet.")

    class Media:
        css = {"all": ["integrations/corp.css", "accounts/directory.css"]}

    def get_urls(self) -> list[URLPattern]:
        both = require_http_methods(["GET", "POST"])
        views = {
            ("link/", "link"): both(self.link_view),
            ("create/", "create"): require_POST(self.create_view),
            ("bulk/", "bulk"): both(self.bulk_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    # --- One row ------------------------------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        conflict = super().get_object(request, object_id, from_field)
        if conflict is not None:
            conflict.why = explain_missing_link(request.user, conflict.reason)
        return conflict

    @admin.display(description=_("reason"))
    def why(self, conflict: LinkConflict) -> str:
        """Return the reason that the user may read, which get_object has set."""
        return str(getattr(conflict, "why", ""))

    # --- The list -----------------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        side = request.GET.get("side", "members")
        side = side if side in SIDES and _may_view(request, side) else "members"
        corps = list(Corp.objects.visible_to(request.user).only("name").order_by("name"))
        corp = next((one for one in corps if str(one.pk) == request.GET.get("company")), None)
        chosen = {"side": side, "company": corp.pk if corp else "", "q": request.GET.get("q", "").strip()}
        may_see_all = sees_all(request.user)
        reasons = [one for one in LinkConflict.Reason if may_see_all or one in REASONS_ABOUT_MEMBERS]
        chosen["reason"] = request.GET["reason"] if request.GET.get("reason") in reasons else ""
        if side == "conflicts":
            visible = Corp.objects.visible_to(request.user)
            conflicts = find_conflicts(seen_by=request.user, corps=visible.filter(pk=corp.pk) if corp else visible)
            listed = {"conflicts": conflicts}
        else:
            listed = (_list_members if side == "members" else _list_users)(request, corp, chosen)
        context = {
            "title": gettext("Not linked with WeCom"),
            "sides": [
                (name, label, f"?{urlencode({'side': name, 'company': chosen['company']})}")
                for name, label in SIDES.items()
                if _may_view(request, name)
            ],
            "corps": corps,
            "reasons": [(one.value, one.label) for one in reasons],
            "may_link": may_link(request),
            "empty_list": self.empty_list,
            # As long as there are no members, link to the synchronisation.
            "help": {}
            if Member.objects.visible_to(request.user).exists()
            else describe_empty_select(Department, request, is_empty=True),
            **chosen,
            **listed,
            **(extra_context or {}),
        }
        return show_page(self, request, f"{FOLDER}/unlinked.html", context)

    # --- One link -----------------------------------------------------------------------------------------------------

    def link_view(self, request: HttpRequest) -> HttpResponse:
        """GET: ask whether to link a member with a person. POST: link them, or ask first if there are objections."""
        if not may_link(request):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        member = _get_or_404(Member.objects.visible_to(request.user).select_related("corp"), given.get("member"))
        user = _get_or_404(find_changeable_people(request.user), given.get("user"))
        reasons = linking.find_objections(member=member, user=user)
        objections = [explain_missing_link(request.user, reason, sees_the_other=True) for reason in reasons]
        if given.get("by_name"):
            objections.append(gettext("Only the names are the same: it may be somebody else."))
        back = _make_list_url(given.get("back", ""))
        if request.method == "POST" and (not objections or "confirmed" in request.POST):
            sentence = gettext("“%(person)s” is linked with “%(member)s” of “%(corp)s”.")
            try:
                linking.link_by_hand(member=member, user=user, editor=get_signed_in_person(request))
                messages.success(request, sentence % {"person": user, "member": member, "corp": member.corp})
            except linking.LinkRefusedError as refused:
                messages.error(request, str(refused))
            return HttpResponseRedirect(back)
        context = {
            "title": gettext("Link with WeCom"),
            "member": member,
            "person": user,
            "objections": objections,
            "by_name": given.get("by_name", ""),
            "back": back,
            "back_query": given.get("back", ""),
        }
        return show_page(self, request, f"{FOLDER}/link.html", context)

    def create_view(self, request: HttpRequest) -> HttpResponse:
        """Create a user for a member, if none of the suggested people is the member."""
        if not _may_create(request):
            raise PermissionDenied
        sentence = gettext("“%(person)s” was created and linked with “%(member)s” of “%(corp)s”.")
        member = _get_or_404(Member.objects.visible_to(request.user).select_related("corp"), request.POST.get("member"))
        try:
            user = linking.create_user_by_hand(member=member, editor=get_signed_in_person(request))
            messages.success(request, sentence % {"person": user, "member": member, "corp": member.corp})
        except linking.LinkRefusedError as refused:
            messages.error(request, str(refused))
        return HttpResponseRedirect(_make_list_url(request.POST.get("back", "")))

    # --- Many links ---------------------------------------------------------------------------------------------------

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """GET: ask how to find people, and count the possible links. POST: make the links."""
        if not may_link(request):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        form = BulkForm(given if "corp" in given else None, editor=get_signed_in_person(request))
        context: dict[str, Any] = {"title": gettext("Link all unambiguous matches"), "form": form}
        if form.is_bound and form.is_valid():
            policy, editor = form.instance, get_signed_in_person(request)
            members = matching.filter_unlinked(Member.objects.eligible().filter(corp=form.cleaned_data["corp"]))
            page = read_page(members, after=read_key(given.get("after")), size=linking.MEMBERS_AT_ONCE)
            if request.method == "POST":
                count = linking.link_members(policy=policy, members=page.rows, editor=editor)
                sentence = ngettext("%(count)s person was linked.", "%(count)s people were linked.", count)
                messages.success(request, sentence % {"count": f"{count:,}"})
                return HttpResponseRedirect(reverse(LIST) + f"?{urlencode({'company': policy.corp_id})}")
            matches = linking.find_unambiguous_matches(policy=policy, members=page.rows, editor=editor)
            context |= {"checked_count": len(page.rows), "count": len(matches), "page": page, "first": matches[:10]}
            query = urlencode({**request.GET.dict(), "after": page.after or ""})
            context |= {"next": f"?{query}" if page.after else "", "after": given.get("after", "")}
        return show_page(self, request, f"{FOLDER}/bulk.html", context)


# --- The three tabs ---------------------------------------------------------------------------------------------------


def _list_members(request: HttpRequest, corp: Corp | None, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the tab of members without a user. `chosen`: the search text and the filters."""
    members = matching.filter_unlinked(Member.objects.visible_to(request.user))
    members = members.filter(corp=corp) if corp is not None else members
    if chosen["q"]:
        by_name = members.filter(name__icontains=chosen["q"])
        members = members.filter(userid_folded__startswith=fold_userid(chosen["q"])) | by_name
    if chosen["reason"]:
        members = members.filter(link_conflict__reason=chosen["reason"])
    departments = Prefetch("departments", Department.objects.only("name", "wecom_department_id").order_by("pk"))
    page = _read_page(request, members.select_related("corp", "link_conflict").prefetch_related(departments))
    suggestions = matching.suggest_people(page.rows, among=find_visible_people(request.user))
    context = _describe_page(request, chosen, page, suggestions)
    # Find the usernames with which members could be created.
    creatable = [one for one in page.rows if one.waits_since is None] if _may_create(request) else []
    names = linking.find_free_usernames([one.userid for one in creatable])
    for row in context["rows"]:
        member = row["subject"]
        row["created_as"] = names.get(member.userid_folded, "") if member in creatable else ""
        # The reason why the last run linked the member with nobody; empty if no run has tried.
        reason = member.link_conflict.reason if hasattr(member, "link_conflict") else ""
        row["reason"] = explain_missing_link(request.user, reason) if reason else ""
    return context


def _list_users(request: HttpRequest, corp: Corp | None, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the tab of users without a member. `chosen`: the search text and the filters."""
    linked = WeComAccount.objects.complete().filter(user=OuterRef("pk"))
    people = find_visible_people(request.user).filter(~Exists(linked), is_active=True)
    if chosen["q"]:
        people = people.filter(username__icontains=chosen["q"]) | people.filter(name__icontains=chosen["q"])
    page = _read_page(request, people)
    members = Member.objects.visible_to(request.user)
    suggestions = matching.suggest_members(page.rows, among=members.filter(corp=corp) if corp is not None else members)
    return _describe_page(request, chosen, page, suggestions)


def _read_page(request: HttpRequest, rows: QuerySet[Any]) -> KeysetPage:
    before, after = (read_key(request.GET.get(name)) for name in ("before", "after"))
    return read_page(rows, before=before, after=after, size=ROWS)


def _describe_page(
    request: HttpRequest, chosen: dict[str, Any], page: KeysetPage, suggestions: dict[int, list[matching.Suggestion]]
) -> dict[str, Any]:
    """Return the context of a page: each row with its suggestions and their objections, and the addresses of the
    previous and next page. `linkable` of a row: keys of people whom the administrator may link."""
    suggested = {one.user.pk for some in suggestions.values() for one in some}
    linkable: set[int] = set()
    if suggested and may_link(request):
        changeable = find_changeable_people(request.user).filter(pk__in=list(suggested))
        linkable = set(changeable.values_list("pk", flat=True))
    rows = [
        {
            "subject": row,
            "suggestions": [
                (one, explain_missing_link(request.user, one.objection, sees_the_other=True) if one.objection else "")
                for one in suggestions[row.pk][: matching.SUGGESTIONS_SHOWN]
            ],
            "left_out": len(suggestions[row.pk]) > matching.SUGGESTIONS_SHOWN,
            "linkable": linkable,
        }
        for row in page.rows
    ]
    keys = {"previous_url": {"before": page.before}, "next_url": {"after": page.after}}
    urls = {name: "" if None in key.values() else f"?{urlencode({**chosen, **key})}" for name, key in keys.items()}
    return {"rows": rows, **urls}


def _may_view(request: HttpRequest, side: str) -> bool:
    return side == "members" or request.user.has_perm("accounts.view_user")


def _may_create(request: HttpRequest) -> bool:
    return may_link(request) and request.user.has_perms(("accounts.add_user", "accounts.add_wecomaccount"))


def _get_or_404(rows: QuerySet[Any], key: str | None) -> Any:
    """Return the row with a key from a form. Raises Http404."""
    number = read_key(key)
    row = rows.filter(pk=number).first() if number is not None else None
    if row is None:
        raise Http404
    return row


def _make_list_url(query: str) -> str:
    """Return the address of the page. `query`: its query string, from the form that was sent."""
    return reverse(LIST) + (f"?{query[:500]}" if query else "")
