"""Finds messages and receipts by person and by mark, and runs by subscription, by way of indexes."""

from __future__ import annotations

import re

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import WeComAccount, fold_userid
from accounts.visibility import people_visible_to
from integrations.visibility import Person
from notifications.models import Delivery, Receipt, Run, Subscription

# A search that means more people than this is refused an answer by person: it names nobody in particular.
PEOPLE_AT_MOST = 200
SUBSCRIPTIONS_AT_MOST = 200
_MARK = re.compile(r"\b[0-9a-f]{32}\b")


def mark_in(words: str) -> str | None:
    """The mark in what was typed or pasted: a mark alone, or the address of a message's page."""
    found = _MARK.search(words.lower())
    return found[0] if found else None


def people_found(words: str, *, seen_by: Person) -> list[int]:
    """Ids of the visible people whose username, name or WeCom account begins with `words`, or whose name holds them."""
    folded = fold_userid(words)
    accounts = WeComAccount.objects.visible_to(seen_by)
    account = accounts.filter(user=OuterRef("pk"), userid_folded__startswith=folded)
    wanted = Q(username__istartswith=words) | Q(name__contains=words) | Q(Exists(account))
    return list(people_visible_to(seen_by).filter(wanted).values_list("pk", flat=True)[:PEOPLE_AT_MOST])


def deliveries_found(deliveries: QuerySet[Delivery], words: str, *, seen_by: Person) -> QuerySet[Delivery]:
    mark = mark_in(words)
    if mark is not None:
        return deliveries.filter(mark=mark)
    theirs = Receipt.objects.filter(user_id__in=people_found(words, seen_by=seen_by), delivery__isnull=False)
    # Why a subquery? The titles are read in their index then, which is a small part of the table.
    titled = Delivery.objects.filter(title__contains=words).order_by()
    return deliveries.filter(Q(pk__in=theirs.values("delivery_id")) | Q(pk__in=titled.values("pk")))


def receipts_found(receipts: QuerySet[Receipt], words: str, *, seen_by: Person) -> QuerySet[Receipt]:
    mark = mark_in(words)
    if mark is not None:
        return receipts.filter(delivery__mark=mark)
    return receipts.filter(user_id__in=people_found(words, seen_by=seen_by))


def runs_found(runs: QuerySet[Run], words: str, *, seen_by: Person) -> QuerySet[Run]:
    """Those of visible subscriptions, the newest SUBSCRIPTIONS_AT_MOST, whose name holds `words`."""
    named = Subscription.objects.visible_to(seen_by).filter(name__icontains=words).order_by("-pk")
    return runs.filter(subscription__in=list(named.values_list("pk", flat=True)[:SUBSCRIPTIONS_AT_MOST]))
