"""Adds people to the groups of their departments, and removes memberships that it has added before.

Memberships given by administrators stay, and people who may enter the administration are skipped. Only differences are
written, for PEOPLE_AT_ONCE at most, inside the caller's transaction.
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

# Number of people handled in one call.
PEOPLE_AT_ONCE = 1000
_ROWS_A_STATEMENT = 500
_Pair = tuple[int, int]  # user, group
_Membership = User.groups.through


class GroupRules:
    """The groups that each department of a corp gives to its people. Two queries; read it once for a run."""

    def __init__(self, corp: Corp) -> None:
        # Maps departments to groups.
        self.groups_of: dict[int, set[int]] = defaultdict(set)
        chosen: dict[tuple[int, bool], set[int]] = defaultdict(set)
        for rule in DepartmentGroup.objects.in_force().filter(department__corp=corp):
            chosen[rule.group_id, rule.with_subdepartments].add(rule.department_id)
        tree = DepartmentTree([corp.pk] if chosen else [])
        for (group_id, with_subdepartments), department_ids in chosen.items():
            for department_id in tree.find_covered(department_ids, with_subdepartments=with_subdepartments):
                self.groups_of[department_id].add(group_id)


def sync_groups(*, corp: Corp, user_ids: Collection[int], rules: GroupRules | None = None) -> Counter[str]:
    """Add and remove group memberships of people (PEOPLE_AT_ONCE at most) according to their departments in `corp`.

    Does nothing unless the policy of `corp` creates and updates people. Call it inside a transaction. Returns how many
    memberships were added ("grouped") and removed ("ungrouped").
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


def sync_groups_of_unlinked_people(*, corp: Corp, after: int) -> tuple[Counter[str], int | None]:
    """Remove groups that the corp's directory gave to people who have no account there any more, because they were
    moved or unlinked by hand. Handles PEOPLE_AT_ONCE people with keys above `after`. The second result is the next
    `after`, None at the end."""
    account = WeComAccount.objects.complete().filter(corp=corp, user=OuterRef("user"))
    rows = GivenGroup.objects.filter(~Exists(account), corp=corp, user_id__gt=after).order_by("user_id")
    keys = list(rows.values_list("user_id", flat=True).distinct()[:PEOPLE_AT_ONCE])
    if not keys:
        return Counter(), None
    return sync_groups(corp=corp, user_ids=keys), keys[-1]


class MembershipDiff:
    """The differences between the groups that people have and should have. `user_ids`: the keys of people with a
    difference."""

    def __init__(self, corp: Corp, people: QuerySet[User], rules: GroupRules) -> None:
        self._corp = corp
        user_ids = list(people.values_list("pk", flat=True))
        # A person with two accounts in the corp gets the groups of both. Disabled members and those out of scope keep
        # their groups: they have no access meanwhile, and may come back.
        accounts = WeComAccount.objects.complete().filter(corp=corp, user__in=user_ids)
        owners = dict(accounts.values_list("userid_folded", "user_id"))
        members = Member.objects.filter(corp=corp, userid_folded__in=list(owners), waits_since__isnull=True)
        members = members.exclude(presence=Member.Presence.DELETED).order_by()
        places = members.values_list("userid_folded", "departments")
        wanted: set[_Pair] = {
            (owners[userid], group) for userid, department in places for group in rules.groups_of.get(department, ())
        }
        # Memberships recorded as given by this corp, and by other corps.
        recorded: set[_Pair] = set()
        by_others: set[_Pair] = set()
        rows = GivenGroup.objects.filter(user__in=user_ids)
        for corp_id, user_id, group_id in rows.values_list("corp_id", "user_id", "group_id"):
            (recorded if corp_id == corp.pk else by_others).add((user_id, group_id))
        memberships = _Membership.objects.filter(
            user__in=user_ids, group__in={group for _user, group in wanted | recorded}
        )
        present = set(memberships.values_list("user_id", "group_id"))
        self._to_add, self._to_unrecord = wanted - present, recorded - wanted
        self._to_remove = (self._to_unrecord & present) - by_others
        # Memberships given by an administrator are not recorded; those given by another corp's directory are recorded
        # for both corps.
        self._to_record = (self._to_add | (wanted & by_others)) - recorded
        self.user_ids = sorted({user for user, _group in self._to_add | self._to_unrecord | self._to_record})

    def write_differences(self) -> Counter[str]:
        """Write the differences. Return how many memberships were added and removed."""
        memberships = [_Membership(user_id=user, group_id=group) for user, group in sorted(self._to_add)]
        _Membership.objects.bulk_create(memberships, batch_size=_ROWS_A_STATEMENT)
        rows = [GivenGroup(corp=self._corp, user_id=user, group_id=group) for user, group in sorted(self._to_record)]
        GivenGroup.objects.bulk_create(rows, batch_size=_ROWS_A_STATEMENT)
        for group in {group for _user, group in self._to_unrecord}:
            users = [user for user, other in self._to_unrecord if other == group]
            GivenGroup.objects.filter(corp=self._corp, group=group, user__in=users).delete()
            removed = [user for user, other in self._to_remove if other == group]
            _Membership.objects.filter(group=group, user__in=removed).delete()
        if changed := self._to_add | self._to_remove:
            names = dict(Group.objects.filter(pk__in={group for _user, group in changed}).values_list("pk", "name"))
            changes: dict[int, list[list[object]]] = defaultdict(list)
            for user, group in sorted(self._to_add):
                changes[user].append(["groups", None, [names[group]]])
            for user, group in sorted(self._to_remove):
                changes[user].append(["groups", [names[group]], None])
            services.record_people(changes, AuditEntry.Action.CHANGED)
        return +Counter({"grouped": len(self._to_add), "ungrouped": len(self._to_remove)})


# URL name of DepartmentSearch. Django puts the name of the admin site in place of %s.
SEARCH_ROUTE = "%s:integrations_department_search"


class DepartmentSelect(AutocompleteSelect):
    """Select of one department, with a search."""

    url_name = SEARCH_ROUTE


class DepartmentsSelect(AutocompleteSelectMultiple):
    """Select of several departments, with a search."""

    url_name = SEARCH_ROUTE

    def build_attrs(self, base_attrs: Any, extra_attrs: Any = None) -> dict[str, Any]:
        """Leave out Select2's button that clears all choices: it is an invalid child of the list for screen readers."""
        return {**super().build_attrs(base_attrs, extra_attrs), "data-allow-clear": "false"}


class DepartmentSearch(AutocompleteJsonView):
    """Search view of the selects: departments that exist in WeCom, in companies that the person sees, with their
    paths."""

    def get_queryset(self) -> Any:
        departments: QuerySet[Department] = super().get_queryset()
        return departments.filter(removed_at__isnull=True)

    def get_context_data(self, *, object_list: Any = None, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(object_list=object_list, **kwargs)
        context["object_list"] = list(context["object_list"])
        self._paths = find_paths(context["object_list"])
        return context

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        return {"id": str(obj.pk), "text": self._paths[obj.pk]}


class DepartmentChoicesMixin:
    """Mixin of the fields for departments: the departments offered, and their labels."""

    queryset: Any
    _paths: dict[int, str] = {}  # replaced, never changed in place

    def offer_departments(self, *, seen_by: Person, chosen: list[int]) -> None:
        """Offer the departments of companies that `seen_by` sees. Departments already chosen (keys) stay valid if
        removed."""
        stored = Department.objects.filter(pk__in=chosen)
        self.queryset = Department.objects.visible_to(seen_by).present() | stored
        self._paths = find_paths(stored) if chosen else {}

    def label_from_instance(self, department: Department) -> str:
        return self._paths.get(department.pk) or find_paths([department])[department.pk]


class DepartmentField(DepartmentChoicesMixin, forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Choice of one department."""


class DepartmentsField(DepartmentChoicesMixin, forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Choice of several departments."""
