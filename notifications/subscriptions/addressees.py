"""Describes recipients of orders (pushes and alert rules), explains why they name a person, stores people's choices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from accounts.models import User, WeComAccount
from accounts.users.roles import find_visible_people
from integrations.directory import departments
from integrations.models import Department, Member
from notifications.models import AlertRule, Receipt, Subscription, SubscriptionChoice, WithRecipients
from notifications.subscriptions.recipients import find_orders_by_attributes, read_audiences

if TYPE_CHECKING:
    from integrations.models.fields import Person


# If there are more addressees of a kind, they are counted, not named.
NAMED_AT_MOST = 2


def describe_addressees(orders: Sequence[WithRecipients], *, seen_by: Person) -> dict[int, str]:
    """Describe the recipients of each of `orders` of one model, by its key. People whom `seen_by` may not see are
    counted, not named. Makes at most seven queries."""
    audiences = read_audiences(orders)
    found: dict[int, list[str]] = {pk: [] for pk in audiences}
    for pk, audience in audiences.items():
        if audience.robot_id is not None:
            found[pk].append(_("a group robot's group"))
        elif audience.to_everyone:
            found[pk].append(_("everyone"))
    kinds: Sequence[tuple[str, QuerySet[Any], Callable[[Any], str]]] = (
        ("department_ids", Department.objects.all(), str),
        ("group_ids", Group.objects.all(), str),
        ("user_ids", find_visible_people(seen_by), User.get_full_name),
    )
    for field, rows, name_of in kinds:
        chosen: dict[int, Sequence[int]] = {pk: getattr(one, field) for pk, one in audiences.items()}
        to_name = {key for keys in chosen.values() if len(keys) <= NAMED_AT_MOST for key in keys}
        names = {row.pk: name_of(row) for row in rows.filter(pk__in=to_name)} if to_name else {}
        for pk, keys in chosen.items():
            count, named = len(keys), [names[key] for key in keys if key in names]
            counted = {
                "department_ids": ngettext("%(count)s department", "%(count)s departments", count),
                "group_ids": ngettext("%(count)s group", "%(count)s groups", count),
                "user_ids": ngettext("%(count)s person", "%(count)s people", count),
            }
            if count:
                found[pk].append(
                    _join_words(named) if len(named) == count else counted[field] % {"count": f"{count:,}"}
                )
    for pk, audience in audiences.items():
        for rule in audience.rules:
            further = ["…"] if len(rule.values) > NAMED_AT_MOST else []
            values = _join_words([*rule.values[:NAMED_AT_MOST], *further])
            words = pgettext("attribute, comparison, values", "%(attribute)s %(operator)s %(values)s")
            found[pk].append(words % {"attribute": rule.attribute, "operator": rule.operator.label, "values": values})
    return {pk: _join_words(words) or _("nobody") for pk, words in found.items()}


def _join_words(words: list[str]) -> str:
    return pgettext("between reasons", ", ").join(words)


# --- Why an order names a person: by name, group, department or attributes, or as everyone ---


def explain_naming(person: User, model: type[Subscription] | type[AlertRule]) -> dict[int, list[str]]:
    """Map each order of `model` that names the person, reachable or not, to the reasons in words. Makes at most ten
    queries, and one for each level of departments."""
    found: dict[int, list[str]] = defaultdict(list)
    orders: QuerySet[Any] = model._default_manager.order_by()
    for pk in orders.filter(users=person).values_list("pk", flat=True):
        found[pk].append(_("chosen by name"))
    by_group = orders.filter(groups__in=person.groups.values("pk"))
    for pk, name in by_group.values_list("pk", "groups__name"):
        found[pk].append(_("group “%(name)s”") % {"name": name})
    accounts = list(WeComAccount.objects.complete().filter(user=person))
    # As in resolve_audience, a department counts if it exists; an order may include the departments below it.
    own_departments = _find_departments(accounts)
    covering = (
        departments.DepartmentTree.of_departments(own_departments).find_covering(own_departments)
        if own_departments
        else set()
    )
    named = Department.objects.in_bulk(covering)
    chosen = orders.filter(departments__in=covering).values_list("pk", "departments", "with_subdepartments")
    for pk, one, with_subdepartments in chosen:
        if with_subdepartments or one in own_departments:
            found[pk].append(_("department “%(name)s”") % {"name": named[one]})
    for pk in find_orders_by_attributes(person, model):
        found[pk].append(_("by attributes"))
    if person.is_active and any(account.is_primary for account in accounts):
        for pk in orders.filter(to_everyone=True).values_list("pk", flat=True):
            found[pk].append(_("everyone"))
    return found


def _find_departments(accounts: list[WeComAccount]) -> set[int]:
    """Return the keys of the departments that these accounts belong to."""
    member = Q(pk__in=[])
    for account in accounts:
        member |= Q(corp=account.corp_id, userid_folded=account.userid_folded)
    own = Department.objects.present().filter(members__in=Member.objects.eligible().filter(member))
    return set(own.order_by().values_list("pk", flat=True))


# --- A person's own pushes, and the choice to pause or decline one ---


SHOWN_AT_MOST = 200
# Newest receipts that are read, to find pushes that reached the person but no longer name them.
RECEIPTS_READ = 500


def find_own_subscriptions(person: User) -> QuerySet[Subscription, Any]:
    """Return the person's enabled pushes by name, each with its `choice`: a SubscriptionChoice.Kind, or empty while the
    push is sent. Makes six queries; for members of departments two more."""
    chosen = SubscriptionChoice.objects.filter(user=person, subscription=OuterRef("pk"))
    found = _find_concerning_subscriptions(person).annotate(choice=Coalesce(Subquery(chosen.values("kind")), Value("")))
    return found.order_by("name", "next_run_at", "pk")[:SHOWN_AT_MOST]


def choose_subscription(person: User, *, subscription_id: int, kind: str, now: datetime) -> bool:
    """Store what `person` chose; an empty `kind` resumes. Return False if the subscription does not concern the person.
    Messages that are already made still arrive."""
    if not _find_concerning_subscriptions(person).filter(pk=subscription_id).exists():
        return False
    if kind:
        SubscriptionChoice.objects.update_or_create(
            subscription_id=subscription_id, user=person, defaults={"kind": kind, "chosen_at": now}
        )
    else:
        SubscriptionChoice.objects.filter(subscription_id=subscription_id, user=person).delete()
    return True


def _find_concerning_subscriptions(person: User) -> QuerySet[Subscription]:
    """Return enabled subscriptions that name the person (directly, by group, department or attributes, or as everyone)
    or have reached the person lately."""
    accounts = list(WeComAccount.objects.complete().filter(user=person))
    corp_id = next((account.corp_id for account in accounts if account.is_primary), None)
    newest = Receipt.objects.filter(user=person).order_by("-pk").values("run_id")[:RECEIPTS_READ]
    reached = list(
        Subscription.objects.filter(runs__in=[row["run_id"] for row in newest]).values_list("pk", flat=True).distinct()
    )
    named = Q(users=person) | Q(groups__in=person.groups.values("pk")) | Q(pk__in=reached)
    named |= Q(pk__in=find_orders_by_attributes(person))
    if own_departments := _find_departments(accounts):
        covering = departments.DepartmentTree.of_departments(own_departments).find_covering(own_departments)
        named |= Q(departments__in=own_departments) | Q(departments__in=covering, with_subdepartments=True)
    if corp_id is not None:
        named |= Q(to_everyone=True)
    keys = Subscription.objects.filter(named).order_by().values("pk")
    return Subscription.objects.filter(Q(report__corp=None) | Q(report__corp=corp_id), pk__in=keys, is_enabled=True)
