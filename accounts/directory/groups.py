"""Adds people to the groups of their departments, and removes them from groups that it added.

Memberships given by administrators stay. People who may enter the administration are left alone. Only differences are
written, for some people at a time, inside the caller's transaction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.contrib.auth.models import Group
from django.db.models import Exists, OuterRef, QuerySet

from accounts.audit import services
from accounts.models import AuditEntry, DepartmentGroup, DirectoryPolicy, GivenGroup, User, WeComAccount
from integrations.directory.departments import DepartmentTree, find_paths
from integrations.models import Corp, Department, Member
from integrations.models.fields import Person

# So many people are handled in one call.
AT_ONCE = 1000
_ROWS_A_STATEMENT = 500
_Pair = tuple[int, int]  # user, group
_Membership = User.groups.through


class GroupRules:
    """The groups that each department of a corp gives, read once for a run. Two queries."""

    def __init__(self, corp: Corp) -> None:
        self.groups_of: dict[int, set[int]] = defaultdict(set)
        chosen: dict[tuple[int, bool], set[int]] = defaultdict(set)
        for rule in DepartmentGroup.objects.in_force().filter(department__corp=corp):
            chosen[rule.group_id, rule.with_subdepartments].add(rule.department_id)
        tree = DepartmentTree([corp.pk] if chosen else [])
        for (group_id, with_those_below), department_ids in chosen.items():
            for department_id in tree.find_covered(department_ids, with_those_below=with_those_below):
                self.groups_of[department_id].add(group_id)


def sync_groups(*, corp: Corp, user_ids: Collection[int], rules: GroupRules | None = None) -> Counter[str]:
    """Add and remove groups of some people (AT_ONCE at most) according to the departments of `corp`.

    A step of a run calls it, and an event of WeCom for the people concerned. Does nothing unless the policy of `corp`
    creates and updates people. Call it inside a transaction. Returns how many memberships were added and removed.
    """
    policy = DirectoryPolicy.objects.filter(corp=corp, mode=DirectoryPolicy.Mode.CREATE)
    if not user_ids or not policy.exists():
        return Counter()
    rules = rules or GroupRules(corp)
    if not rules.groups_of and not GivenGroup.objects.filter(corp=corp).exists():
        return Counter()
    people = User.objects.filter(is_staff=False, is_superuser=False)
    differing = MembershipDiff(corp, people.filter(pk__in=list(user_ids)), rules).user_ids
    if not differing:
        return Counter()
    # Compare again under the lock.
    return MembershipDiff(
        corp, people.filter(pk__in=differing).select_for_update(no_key=True).order_by("pk"), rules
    ).write_differences()


def sync_groups_of_others(*, corp: Corp, after: int) -> tuple[Counter[str], int | None]:
    """Remove groups given by the corp's directory from people without an account there: moved or unlinked by hand.
    Handles AT_ONCE people with keys after `after`. The second result is the next `after`, None at the end."""
    account = WeComAccount.objects.complete().filter(corp=corp, user=OuterRef("user"))
    left = GivenGroup.objects.filter(~Exists(account), corp=corp, user_id__gt=after).order_by("user_id")
    keys = list(left.values_list("user_id", flat=True).distinct()[:AT_ONCE])
    if not keys:
        return Counter(), None
    return sync_groups(corp=corp, user_ids=keys), keys[-1]


class MembershipDiff:
    """The difference between the groups that some people have and should have. `user_ids`: of people with something to
    write."""

    def __init__(self, corp: Corp, people: QuerySet[User], rules: GroupRules) -> None:
        self._corp = corp
        user_ids = list(people.values_list("pk", flat=True))
        # Two accounts of the corp count with the departments of both. Out of scope and disabled members keep their
        # groups: they have no access meanwhile, and may come back.
        accounts = WeComAccount.objects.complete().filter(corp=corp, user__in=user_ids)
        owners = dict(accounts.values_list("userid_folded", "user_id"))
        standing = Member.objects.filter(corp=corp, userid_folded__in=list(owners), waits_since__isnull=True)
        standing = standing.exclude(presence=Member.Presence.DELETED).order_by()
        places = standing.values_list("userid_folded", "departments")
        wanted: set[_Pair] = {
            (owners[userid], group) for userid, department in places for group in rules.groups_of.get(department, ())
        }
        noted: set[_Pair] = set()
        by_others: set[_Pair] = set()
        rows = GivenGroup.objects.filter(user__in=user_ids)
        for corp_id, user_id, group_id in rows.values_list("corp_id", "user_id", "group_id"):
            (noted if corp_id == corp.pk else by_others).add((user_id, group_id))
        memberships = _Membership.objects.filter(
            user__in=user_ids, group__in={group for _user, group in wanted | noted}
        )
        held = set(memberships.values_list("user_id", "group_id"))
        self._given, self._lost = wanted - held, noted - wanted
        self._removed = (self._lost & held) - by_others
        # Memberships given by an administrator are not noted; those that another corp's directory gave are noted for
        # both.
        self._noted = (self._given | (wanted & by_others)) - noted
        self.user_ids = sorted({user for user, _group in self._given | self._lost | self._noted})

    def write_differences(self) -> Counter[str]:
        """Write the differences. Return how many memberships were added and removed."""
        memberships = [_Membership(user_id=user, group_id=group) for user, group in sorted(self._given)]
        _Membership.objects.bulk_create(memberships, batch_size=_ROWS_A_STATEMENT)
        rows = [GivenGroup(corp=self._corp, user_id=user, group_id=group) for user, group in sorted(self._noted)]
        GivenGroup.objects.bulk_create(rows, batch_size=_ROWS_A_STATEMENT)
        for group in {group for _user, group in self._lost}:
            users = [user for user, lost in self._lost if lost == group]
            GivenGroup.objects.filter(corp=self._corp, group=group, user__in=users).delete()
            removed = [user for user, lost in self._removed if lost == group]
            _Membership.objects.filter(group=group, user__in=removed).delete()
        if changed := self._given | self._removed:
            names = dict(Group.objects.filter(pk__in={group for _user, group in changed}).values_list("pk", "name"))
            changes: dict[int, list[list[object]]] = defaultdict(list)
            for user, group in sorted(self._given):
                changes[user].append(["groups", None, [names[group]]])
            for user, group in sorted(self._removed):
                changes[user].append(["groups", [names[group]], None])
            services.record_people(changes, AuditEntry.Action.CHANGED)
        return +Counter({"grouped": len(self._given), "ungrouped": len(self._removed)})


SEARCH = "%s:integrations_department_search"


class DepartmentSelect(AutocompleteSelect):
    url_name = SEARCH


class DepartmentsSelect(AutocompleteSelectMultiple):
    url_name = SEARCH

    def build_attrs(self, base_attrs: Any, extra_attrs: Any = None) -> dict[str, Any]:
        """Leave out Select2's cross that clears all: it is inside the list of choices without being an item of it."""
        return {**super().build_attrs(base_attrs, extra_attrs), "data-allow-clear": "false"}


class DepartmentSearch(AutocompleteJsonView):
    """View that answers the selects with present departments of visible companies, and their paths."""

    def get_queryset(self) -> Any:
        found: QuerySet[Department] = super().get_queryset()
        return found.filter(removed_at__isnull=True)

    def get_context_data(self, *, object_list: Any = None, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(object_list=object_list, **kwargs)
        context["object_list"] = list(context["object_list"])
        self._paths = find_paths(context["object_list"])
        return context

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        return {"id": str(obj.pk), "text": self._paths[obj.pk]}


class DepartmentChoicesMixin:
    """Mixin of both fields: which departments are offered, and their labels."""

    queryset: Any
    _paths: dict[int, str] = {}  # never changed, only replaced

    def offer_departments(self, *, seen_by: Person, chosen: list[int]) -> None:
        """Offer present departments of companies that `seen_by` sees; departments already `chosen` stay valid."""
        stored = Department.objects.filter(pk__in=chosen)
        self.queryset = Department.objects.visible_to(seen_by).present() | stored
        self._paths = find_paths(stored) if chosen else {}

    def label_from_instance(self, department: Department) -> str:
        return self._paths.get(department.pk) or find_paths([department])[department.pk]


class DepartmentField(DepartmentChoicesMixin, forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Choice of one department."""


class DepartmentsField(DepartmentChoicesMixin, forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Choice of several departments."""
