"""Admin pages of people besides the form: the card of a person, and the grid of people and attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_GET, require_http_methods

from accounts.admin.base import format_moment
from accounts.models import Attribute, User, WeComAccount, barred_by_wecom
from accounts.users import attributes, roles
from accounts.users.attributes import CellKey, CellsRefusedError
from accounts.users.companies import person_panels
from accounts.users.roles import find_changeable_people
from accounts.views.confirmation import get_signed_in_person
from integrations.admin.base import find_row, make_routes, show_page, show_toned_text
from integrations.core.admin_pages import AnyModelAdmin
from integrations.models import Member

# Limits for one page of the grid.
PEOPLE_A_PAGE, CELLS_A_PAGE = 50, 600


class PeopleList(ChangeList):
    """A list whose rows link to the person's card."""

    def url_for_result(self, result: Any) -> str:
        return reverse("admin:accounts_user_card", args=[result.pk])


class PersonPages(AnyModelAdmin):
    """Mixin of UserAdmin for the card of a person and the grid of attributes."""

    def get_urls(self) -> list[URLPattern]:
        views = {
            ("grid/", "grid"): require_http_methods(["GET", "POST"])(self.grid_view),
            ("<int:person_id>/", "card"): require_GET(self.card_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PeopleList

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """Redirect to the card, or to the list if the editor no longer sees the person."""
        if self.get_object(request, str(obj.pk)) is None:
            return HttpResponseRedirect(reverse("admin:accounts_user_changelist"))
        return HttpResponseRedirect(reverse("admin:accounts_user_card", args=[obj.pk]))

    # --- The card -----------------------------------------------------------------------------------------------------

    def card_view(self, request: HttpRequest, person_id: int) -> HttpResponse:
        """Show the person's accounts, whether messages reach the person, attributes and roles."""
        person: User = find_row(self, request, person_id, to_change=False)
        accounts = list_account_states(person)
        primary = next((one for one in accounts if one["account"].is_primary), None)
        # Tone, word and sentence on whether messages reach the person, and through which account.
        if not person.is_active:
            state = "quiet", gettext("disabled"), gettext("The person is disabled: no sign-in, no messages.")
        elif primary is None:
            state = "warn", gettext("waiting"), gettext("Without a WeCom account no messages arrive.")
        elif primary["reason"]:
            state = primary["tone"], primary["word"], primary["reason"]
        else:
            account = primary["account"]
            sentence = gettext("Messages go to “%(account)s” of “%(company)s”.")
            values = {"account": account.userid, "company": account.corp.name}
            state = "good", gettext("in order"), sentence % values
        groups = roles.find_role_groups().filter(user=person).order_by("pk")
        context = {
            "title": str(person),
            "person": person,
            "state": state,
            "accounts": accounts if attributes.has_wecom_attributes(request) else None,
            "values": [
                (one, attributes.join_values(values))
                for one, values in attributes.list_attributes_with_values(user_id=person.pk)
            ],
            "roles": gettext(", ").join(roles.label_group(group.name) for group in groups),
            "last_login": format_moment(person.last_login),
            "panels": person_panels(request, person),
            "may_change": self.has_change_permission(request, person),
            "may_delete": self.has_delete_permission(request, person),
        }
        return show_page(self, request, "admin/accounts/user/card.html", context)

    # --- The grid -----------------------------------------------------------------------------------------------------

    def grid_view(self, request: HttpRequest) -> HttpResponse:
        """Show and save a page of the grid: attributes of the listed people whom the editor may change."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        editor = get_signed_in_person(request)
        columns = [one for one in Attribute.objects.by_name() if attributes.may_set(editor, one)]
        cells: dict[CellKey, tuple[str, str]] = {}
        problems: dict[CellKey, str] = {}
        if request.method == "POST":
            cells, since = _read_cells(request.POST)
            try:
                cell_count, people_count = attributes.save_cells(cells=cells, editor=editor, since=since)
            except CellsRefusedError as error:
                problems = error.problems
            else:
                if not cell_count:
                    messages.info(request, gettext("Nothing was changed."))
                    return HttpResponseRedirect(request.get_full_path())
                sentence = ngettext(
                    "%(cells)s cells of %(count)s person were saved.",
                    "%(cells)s cells of %(count)s people were saved.",
                    people_count,
                )
                messages.success(request, sentence % {"cells": f"{cell_count:,}", "count": f"{people_count:,}"})
                return HttpResponseRedirect(request.get_full_path())
        # Find the listed people whom the editor may change. The list's search and filters apply.
        query = request.GET.copy()
        numbers = query.pop("p", ["1"])  # a page number of the grid, not of the list
        request.GET = query  # type: ignore[assignment]  # a QueryDict, too
        changelist: Any = self.get_changelist_instance(request)
        listed = changelist.get_queryset(request).order_by().values("pk")
        people = find_changeable_people(editor).filter(pk__in=listed).order_by("username")
        size = max(1, min(PEOPLE_A_PAGE, CELLS_A_PAGE // max(1, len(columns))))
        page = Paginator(people, size).get_page(numbers[-1])
        rows, opened = _make_grid_rows(list(page.object_list), columns, cells, problems)
        context = {
            "title": gettext("Attributes as a grid"),
            "columns": columns,
            "rows": rows,
            "problems": [cell for row in rows for cell in row["cells"] if cell["problem"]],
            "is_refused": bool(problems),
            "page": page,
            "query": request.GET.get("q", ""),
            "opened": json.dumps(opened, ensure_ascii=False),
            "opened_at": int(timezone.now().timestamp()),
        }
        return show_page(self, request, "admin/accounts/user/grid.html", context)


def list_account_states(person: Any) -> list[dict[str, Any]]:
    """Describe the state of each account of a person, with the reason if an account is not in order. `person`: a row
    of UserAdmin.get_queryset."""
    accounts: list[WeComAccount] = person.accounts_by_rank
    keys = [one.pk for one in accounts]
    barred = set(WeComAccount.objects.filter(barred_by_wecom(), pk__in=keys).values_list("pk", flat=True))
    corps, userids = {one.corp_id for one in accounts}, {one.userid_folded for one in accounts}
    rows = Member.objects.filter(corp__in=corps - {None}, userid_folded__in=userids).prefetch_related("departments")
    members = {(one.corp_id, one.userid_folded): one for one in rows}
    states = []
    for account in accounts:
        member = members.get((account.corp_id or 0, account.userid_folded))
        tone, word, reason = _describe_account(account, member, is_barred=account.pk in barred)
        departments = gettext(", ").join(str(one) for one in member.departments.all()) if member else ""
        shown = {"account": account, "tone": tone, "word": word, "reason": reason, "departments": departments}
        states.append({**shown, "state": show_toned_text(tone, word), "signed_in": format_moment(account.signed_in_at)})
    return states


def _describe_account(account: WeComAccount, member: Member | None, *, is_barred: bool) -> tuple[str, str, str]:
    """Return tone, word and reason of an account's state. The reason is empty if the account is in order."""
    if account.left_at is not None:
        return "bad", gettext("failed"), gettext("The person has left this company in WeCom.")
    if account.corp is None or not account.userid:
        missing = gettext("WeCom company name") if account.corp is None else gettext("WeCom account")
        return "warn", gettext("waiting"), gettext("“%(missing)s” is empty.") % {"missing": missing}
    if not account.corp.is_enabled:
        return "quiet", gettext("disabled"), gettext("The company is disabled.")
    if member is not None and is_barred:
        if member.waits_since is not None:
            return "warn", gettext("waiting"), gettext("The member came back in WeCom and waits for an administrator.")
        is_away = member.presence != Member.Presence.IN_SCOPE
        state = member.get_presence_display() if is_away else member.get_status_display()
        return "bad", gettext("failed"), gettext("WeCom: %(state)s.") % {"state": state}
    return "good", gettext("in order"), ""


def _read_cells(posted: QueryDict) -> tuple[dict[CellKey, tuple[str, str]], datetime]:
    """Return the changed cells, each with the text that the page showed and the typed text; and when the page was
    opened."""
    try:
        opened = json.loads(posted.get("opened", "{}"))
        since = datetime.fromtimestamp(int(posted.get("opened_at", "0")), UTC)
    except (ValueError, OverflowError, OSError):
        raise PermissionDenied from None
    cells: dict[CellKey, tuple[str, str]] = {}
    for name, typed in posted.items():
        kind, _dash, key = name.partition("-")
        numbers = key.split("-")
        if kind != "cell" or len(numbers) != 2 or not all(one.isdecimal() and len(one) < 19 for one in numbers):
            continue
        shown = str(opened.get(key, "")) if isinstance(opened, dict) else ""
        if str(typed) != shown:
            cells[int(numbers[0]), int(numbers[1])] = (shown, str(typed))
    return cells, since


def _make_grid_rows(
    people: list[User],
    columns: list[Attribute],
    typed: Mapping[CellKey, tuple[str, str]],
    problems: Mapping[CellKey, str],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the rows of the page, with typed texts and the reasons why they were refused; and the stored texts of
    cells."""
    keys = [one.pk for one in people]
    values = {one.pk: attributes.find_values(attribute=one, users=keys) for one in columns}
    rows, opened = [], {}
    for person in people:
        cells = []
        for column in columns:
            key = f"{person.pk}-{column.pk}"
            stored = attributes.join_values(values[column.pk].get(person.pk, []))
            if stored:
                opened[key] = stored
            problem = problems.get((person.pk, column.pk), "")
            _shown, text = typed.get((person.pk, column.pk), (stored, stored))
            cells.append({"key": key, "text": text, "column": column, "person": person, "problem": problem})
        rows.append({"person": person, "cells": cells})
    return rows, opened
