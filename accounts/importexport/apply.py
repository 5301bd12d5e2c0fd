"""Applies import decisions to people: profile, WeCom account and attributes, with audit entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from accounts.audit import bulk
from accounts.importexport.columns import COMPANY, USERID
from accounts.importexport.planner import OF_PERSON, Decision
from accounts.models import Attribute, AuditEntry, User, WeComAccount, fold_userid
from accounts.users.attributes import set_values
from accounts.users.companies import settle_primary_accounts

Action = AuditEntry.Action
# The columns of WeComAccount that a change of the two attributes of WeCom is recorded under.
_COLUMNS = {COMPANY: "corp", USERID: "userid"}


def write(decisions: Sequence[Decision]) -> None:
    """Inside a transaction of the caller, who holds the people's rows. Raises IntegrityError where somebody else has
    just taken an account or a value, and ValueTakenError."""
    _write_people([one for one in decisions if _of_person(one)])
    _write_accounts([one for one in decisions if one.account is not None])
    values: dict[Attribute, dict[int, list[str]]] = defaultdict(dict)
    for decision in decisions:
        for attribute, wanted in decision.values.items():
            values[attribute][_user(decision).pk] = wanted
    for attribute, by_user in values.items():
        set_values(attribute=attribute, values=by_user)


def _user(decision: Decision) -> User:
    if decision.user is None:
        raise ValueError("a decision without a person is not written")
    return decision.user


def _of_person(decision: Decision) -> list[list[Any]]:
    return [change for change in decision.changes if change[0] in OF_PERSON]


def _write_people(decisions: list[Decision]) -> None:
    people = []
    for decision in decisions:
        user = _user(decision)
        for name, _before, after in _of_person(decision):
            setattr(user, name, after or "")
        people.append(user)
    if people:
        changes = {_user(one).pk: _of_person(one) for one in decisions}
        # Only these columns: each costs a condition for every person.
        columns = {name for some in changes.values() for name, _before, _after in some}
        User.objects.bulk_update(people, sorted(columns), batch_size=200)
        bulk.record_people(changes, Action.CHANGED)


def _write_accounts(decisions: list[Decision]) -> None:
    new, created, changed = [], [], {}
    for decision in decisions:
        account, corp, userid = decision.account or (None, None, "")
        if account is None:
            new.append(
                WeComAccount(
                    user=_user(decision),
                    corp=corp,
                    userid=userid,
                    userid_folded=fold_userid(userid),
                    is_primary=False,
                )
            )
            created.append(_account_changes(decision))
        else:
            rows = WeComAccount.objects.filter(pk=account.pk)
            left_at = {"left_at": None} if userid else {}
            rows.update(corp=corp, userid=userid, userid_folded=fold_userid(userid), **left_at)
            changed[account.pk] = _account_changes(decision)
    bulk.record_accounts(changed, Action.CHANGED)
    made = WeComAccount.objects.bulk_create(new, batch_size=200)
    bulk.record_accounts({one.pk: said for one, said in zip(made, created, strict=True)}, Action.CREATED)
    settle_primary_accounts([_user(one).pk for one in decisions])


def _account_changes(decision: Decision) -> list[list[Any]]:
    return [[_COLUMNS[what], before, after] for what, before, after in decision.changes if what in _COLUMNS]
