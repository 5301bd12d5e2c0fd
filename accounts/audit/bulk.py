"""Writes audit entries for bulk changes that bypass save(): one entry for each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from accounts.audit import services
from accounts.models import AuditEntry, User, WeComAccount
from integrations.models import Corp

if TYPE_CHECKING:
    from collections.abc import Iterable

Action = AuditEntry.Action


def name_of(account: WeComAccount) -> str:
    """Whose account it is, and the userid; the company stands in a column of its own."""
    return f"{account.user.username} / {account.userid or '—'}"


def record_new(*, accounts: Sequence[WeComAccount], corp: Corp) -> None:
    """`accounts` were just made in `corp`."""
    record_accounts({account.pk: [["corp", None, corp.name]] for account in accounts}, Action.CREATED)


def record_moved(*, before: Mapping[int, int | None], corp: Corp) -> None:
    """`before`: the company of each account, by the account's key, until it was put into `corp`. Three queries, and one
    for each 500 entries."""
    names = dict(Corp.objects.filter(pk__in=set(before.values())).values_list("pk", "name")) if before else {}
    changes = {pk: [["corp", names.get(former or 0), corp.name]] for pk, former in before.items()}
    record_accounts(changes, Action.CHANGED, left=before)


def record_accounts(
    changes: Mapping[int, Sequence[services.Change]],
    action: AuditEntry.Action,
    *,
    left: Mapping[int, int | None] | None = None,
) -> None:
    """`changes` of accounts that were just written, by the account's key. Two queries, and one for each 500 entries.

    `left`: companies that they were in before.
    """
    if not changes:
        return
    accounts = list(WeComAccount.objects.filter(pk__in=list(changes)).select_related("user").order_by("pk"))
    corps = _corps_by_person(account.user_id for account in accounts)
    services.record_many(
        services.entry(
            action=action,
            subject=account,
            name=name_of(account),
            changes=changes[account.pk],
            corps={*corps[account.user_id], *_known(account.corp_id), *_known((left or {}).get(account.pk))},
        )
        for account in accounts
    )


def record_people(changes: Mapping[int, Sequence[services.Change]], action: AuditEntry.Action) -> None:
    """`changes` of people that were just written, by the person's key. Two queries, and one for each 500 entries."""
    if not changes:
        return
    corps = _corps_by_person(changes)
    people = User.objects.filter(pk__in=list(changes)).order_by("pk")
    services.record_many(
        services.entry(action=action, subject=person, changes=changes[person.pk], corps=corps[person.pk])
        for person in people
    )


def _corps_by_person(user_ids: Iterable[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    rows = WeComAccount.objects.filter(user_id__in=list(user_ids), corp__isnull=False)
    for user_id, corp_id in rows.values_list("user_id", "corp_id"):
        found[user_id].add(corp_id)
    return found


def _known(corp_id: int | None) -> set[int]:
    return set() if corp_id is None else {corp_id}
