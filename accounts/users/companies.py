"""Which account a person's messages go to, and what disabling a company stops."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Case, Q, Value, When
from django.utils.translation import ngettext

from accounts.audit import bulk, services
from accounts.models import AuditEntry, WeComAccount, barred_by_wecom
from integrations.models import Corp


def settle_primary_accounts(user_ids: Collection[int]) -> None:
    """Make an account that can receive the primary one of each person whose primary account cannot, if there is one.

    Call it wherever accounts were made, filled, emptied or barred, in the same transaction. One query where nothing is
    to be changed.
    """
    unable = Q(corp__isnull=True) | Q(userid_folded="") | barred_by_wecom()
    rank = Case(When(unable, then=Value(1)), default=Value(0))
    accounts = WeComAccount.objects.filter(user__in=user_ids).order_by("user_id", rank, "-is_primary", "pk")
    first: dict[int, tuple[int, bool]] = {}
    for user_id, pk, is_primary in accounts.values_list("user_id", "pk", "is_primary"):
        first.setdefault(user_id, (pk, is_primary))
    chosen = {user_id: pk for user_id, (pk, is_primary) in first.items() if not is_primary}
    if not chosen:
        return
    former = WeComAccount.objects.filter(user__in=chosen, is_primary=True)
    changes: dict[int, list[services.Change]] = {}
    for user_id, pk in former.values_list("user_id", "pk"):
        changes |= {pk: [["is_primary", True, False]], chosen[user_id]: [["is_primary", False, True]]}
    former.update(is_primary=False)
    WeComAccount.objects.filter(pk__in=chosen.values()).update(is_primary=True)
    bulk.record_accounts(changes, AuditEntry.Action.CHANGED)


def rests_on_corpid(corp: Corp) -> bool:
    """Whether people are linked with userids of `corp`."""
    return WeComAccount.objects.complete().filter(corp=corp).exists()


def disabling_stops(corp: Corp) -> list[str]:
    """What disabling `corp` does to its people, for the page that asks before it happens."""
    accounts = WeComAccount.objects.complete().filter(corp=corp, user__is_active=True)
    sentences = []
    if corp.sign_in_enabled:
        count = accounts.values("user").distinct().count()
        sentence = ngettext(
            "%(count)d person can no longer sign in with WeCom, and is signed out if signed in that way.",
            "%(count)d people can no longer sign in with WeCom, and are signed out if signed in that way.",
            count,
        )
        sentences.append(sentence % {"count": count})
    count = accounts.filter(is_primary=True).count()
    sentence = ngettext(
        "%(count)d person receives no messages meanwhile.", "%(count)d people receive no messages meanwhile.", count
    )
    return [*sentences, sentence % {"count": count}]
