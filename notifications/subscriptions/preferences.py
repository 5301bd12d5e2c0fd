"""A person's subscriptions, and their choices about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.models import User, WeComAccount
from integrations.directory import departments
from integrations.models import Membership
from notifications.models import Receipt, Subscription, SubscriptionChoice
from notifications.subscriptions.attribute_rules import concerned_by_rules

SHOWN_AT_MOST = 200
# Of the newest receipts: what reached the person in a way that no row here names any more.
RECEIPTS_READ = 500


@dataclass(frozen=True, slots=True)
class OwnSubscription:
    """`name`: the push's own, since its title may be a template.

    `choice`: a SubscriptionChoice.Kind, or empty while it is sent. `next_at`: when it is due again, if known.
    """

    pk: int
    name: str
    choice: str
    next_at: datetime | None


def of_person(person: User) -> list[OwnSubscription]:
    """Those in force, by name. Seven queries; for members of departments one more for each level of these."""
    found = _concerning(person).order_by("name", "next_run_at", "pk")
    rows = list(found[:SHOWN_AT_MOST])
    choices: dict[int, str] = dict(
        SubscriptionChoice.objects.filter(user=person, subscription__in=[row.pk for row in rows]).values_list(
            "subscription_id", "kind"
        )
    )
    return [OwnSubscription(row.pk, row.name, choices.get(row.pk, ""), row.next_run_at) for row in rows]


def choose(person: User, *, subscription_id: int, kind: str, now: datetime) -> bool:
    """Note what `person` chose; an empty `kind` resumes. False for a subscription that does not concern the person.

    Messages that are made already still arrive.
    """
    if not _concerning(person).filter(pk=subscription_id).exists():
        return False
    if kind:
        SubscriptionChoice.objects.update_or_create(
            subscription_id=subscription_id, user=person, defaults={"kind": kind, "chosen_at": now}
        )
    else:
        SubscriptionChoice.objects.filter(subscription_id=subscription_id, user=person).delete()
    return True


def _concerning(person: User) -> QuerySet[Subscription]:
    """Enabled subscriptions that name the person, a group or department of theirs, what their attributes say, or
    everyone; and those that have reached them."""
    accounts = list(WeComAccount.objects.complete().filter(user=person))
    corp_id = next((account.corp_id for account in accounts if account.is_primary), None)
    newest = Receipt.objects.filter(user=person).order_by("-pk").values("run_id")[:RECEIPTS_READ]
    reached = list(
        Subscription.objects.filter(runs__in=[row["run_id"] for row in newest]).values_list("pk", flat=True).distinct()
    )
    named = Q(users=person) | Q(groups__in=person.groups.values("pk")) | Q(pk__in=reached) | _by_department(accounts)
    named |= Q(pk__in=concerned_by_rules(person))
    if corp_id is not None:
        named |= Q(to_everyone=True)
    keys = Subscription.objects.filter(named).order_by().values("pk")
    return Subscription.objects.filter(Q(report__corp=None) | Q(report__corp=corp_id), pk__in=keys, is_enabled=True)


def _by_department(accounts: list[WeComAccount]) -> Q:
    """As recipients.resolve means it: a chosen department that is there, with those below it where that is chosen."""
    member = Q(pk__in=[])
    for account in accounts:
        member |= Q(member__corp=account.corp_id, member__userid_folded=account.userid_folded)
    own = Membership.objects.able().filter(member, department__removed_at=None).values_list("department_id", flat=True)
    standing = set(own)
    if not standing:
        return Q(pk__in=[])
    around = departments.at_and_above(standing)
    return Q(departments__in=standing) | Q(departments__in=around, with_subdepartments=True)
