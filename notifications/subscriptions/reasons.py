"""Why pushes and alert receivers name a person: by name, group, department or attributes, or as everyone."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from accounts.models import WeComAccount
from integrations.directory import departments
from integrations.models import Department, Membership
from notifications.models import AlertReceiver, Subscription
from notifications.subscriptions.attribute_rules import concerned_by_rules

if TYPE_CHECKING:
    from accounts.models import User


def of_person(person: User, model: type[Subscription] | type[AlertReceiver]) -> dict[int, list[str]]:
    """By the key of each order of `model` that names the person, whether it reaches them or not, in words why. Ten
    queries at most, and one for each level of departments."""
    found: dict[int, list[str]] = defaultdict(list)
    orders: QuerySet[Any] = model._default_manager.order_by()
    for pk in orders.filter(users=person).values_list("pk", flat=True):
        found[pk].append(_("chosen by name"))
    theirs = orders.filter(groups__in=person.groups.values("pk"))
    for pk, name in theirs.values_list("pk", "groups__name"):
        found[pk].append(_("group “%(name)s”") % {"name": name})
    accounts = list(WeComAccount.objects.complete().filter(user=person))
    for pk, department in _by_department(orders, accounts):
        found[pk].append(_("department “%(name)s”") % {"name": department})
    for pk in concerned_by_rules(person, model):
        found[pk].append(_("by attributes"))
    if person.is_active and any(account.is_primary for account in accounts):
        for pk in orders.filter(to_everyone=True).values_list("pk", flat=True):
            found[pk].append(_("everyone"))
    return found


def _by_department(orders: QuerySet[Any], accounts: list[WeComAccount]) -> list[tuple[int, str]]:
    """As recipients.resolve means it: a chosen department that is there, with those below it where that is chosen."""
    member = Q(pk__in=[])
    for account in accounts:
        member |= Q(member__corp=account.corp_id, member__userid_folded=account.userid_folded)
    own = Membership.objects.able().filter(member, department__removed_at=None).values_list("department_id", flat=True)
    standing = set(own)
    around = departments.at_and_above(standing) if standing else set()
    named = Department.objects.in_bulk(around)
    chosen = orders.filter(departments__in=around).values_list("pk", "departments", "with_subdepartments")
    return [(pk, str(named[one])) for pk, one, with_those_below in chosen if with_those_below or one in standing]
