"""Decides what each row of a sheet would change, and writes the decisions.

A row about a person whom the administrator may not change has the same result as one about a missing person: a file
must not reveal who exists in other companies. Only an import that creates people reveals that a username is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import F
from django.db.models.functions import Lower

from accounts.audit import services
from accounts.importexport.sheets import (
    ATTRIBUTE,
    BIZ_MAIL,
    COMPANY,
    EMAIL,
    MOBILE,
    NAME,
    USERID,
    USERNAME,
    Layout,
    make_target,
)
from accounts.models import Attribute, AuditEntry, PeopleImport, User, WeComAccount, fold_userid, fold_value
from accounts.users.attributes import find_holders, find_values, may_set, set_values
from accounts.users.companies import choose_primary_accounts
from accounts.users.roles import find_changeable_people, find_visible_people, sees_all
from integrations.core.validators import remove_invisible
from integrations.models import Corp

Cells = Mapping[str, str]
Match = PeopleImport.Match
# The permission to create people.
MAY_ADD = "accounts.add_user"


class ImportContext:
    """The stored data with which the rows of one step are compared. About ten queries, and two for each attribute in
    the file.

    `people`: people by key, only those whom the editor may change. `accounts`, `values`: their accounts (the primary
    one first) and values. `holders`, `value_holders`: who has the accounts and values of the rows, visible or not."""

    def __init__(self, *, run: PeopleImport, editor: User, rows: Sequence[Cells]) -> None:
        self._editor, self._layout = editor, run.layout
        self.sees_all = sees_all(editor)
        all_attributes = list(Attribute.objects.by_name())
        self.attributes = [one for one in all_attributes if any(make_target(one) in cells for cells in rows)]
        self.companies = {one.name.strip().lower(): one for one in Corp.objects.visible_to(editor)}
        login_id = next((make_target(one) for one in all_attributes if one.is_bi_login_id), "")
        # The column that names the row's person.
        self.account_target = {Layout.OWN: USERNAME, Layout.WECOM: USERID}.get(Layout(run.layout), login_id)
        self.people: dict[int, User] = {}
        # Maps a column and its text in lower case to the keys of the people found by it.
        self._found: dict[tuple[str, str], set[int]] = {}
        self._match = Match.USERNAME if run.layout == Layout.OWN else Match(run.match_by)
        self._targets = {
            Match.USERNAME: [self.account_target],
            Match.EMAIL: [EMAIL, BIZ_MAIL],
            Match.MOBILE: [MOBILE],
            Match.ATTRIBUTE: [make_target(one) for one in all_attributes if one.is_employee_number],
        }[self._match]
        self._find_people(rows, all_attributes)
        userids = {fold_userid(cells[USERID]) for cells in rows if cells.get(USERID)}
        linked = WeComAccount.objects.filter(userid_folded__in=userids, corp__isnull=False).select_related("user")
        self.holders: dict[tuple[int | None, str], int] = {}
        for account in linked:
            self.holders[account.corp_id, account.userid_folded] = account.user_id
            self.people.setdefault(account.user_id, account.user)
        self.value_holders: dict[int, dict[str, set[int]]] = {}
        for attribute in (one for one in self.attributes if one.is_unique):
            target = make_target(attribute)
            texts = [cells[target] for cells in rows if cells.get(target)]
            values = [part for text in texts for part in attribute.split_values(text)]
            self.value_holders[attribute.pk] = find_holders(attribute=attribute, values=values)
        # Usernames in the file that are taken, folded; also those of invisible people.
        self.taken_usernames: set[str] = set()
        self.may_create = run.creates_people and editor.has_perm(MAY_ADD)
        if self.may_create:
            wanted = {cells[self.account_target].lower() for cells in rows if cells.get(self.account_target)}
            taken = User.objects.annotate(folded=Lower("username")).filter(folded__in=wanted)
            self.taken_usernames = set(taken.values_list("folded", flat=True))
        changeable = find_changeable_people(editor).filter(pk__in=list(self.people)).order_by()
        keys = set(changeable.values_list("pk", flat=True))
        self.people = {pk: user for pk, user in self.people.items() if pk in keys}
        self.accounts: dict[int, list[WeComAccount]] = defaultdict(list)
        accounts = WeComAccount.objects.filter(user__in=list(self.people)).select_related("corp")
        for account in accounts.order_by("-is_primary", "pk"):
            self.accounts[account.user_id].append(account)
        self.values = {one.pk: find_values(attribute=one, users=list(self.people)) for one in self.attributes}

    def find_people(self, cells: Cells) -> set[User]:
        """Return the people whom a row's cells match."""
        keys = [(target, self._fold(cells.get(target, ""))) for target in self._targets]
        people = {self.people[pk] for key in keys for pk in self._found.get(key, ()) if pk in self.people}
        if self._match != Match.USERNAME:
            return people
        # If several names differ only in capitals, the exact spelling wins.
        people = {one for one in people if one.username == cells.get(self.account_target)} or people
        # A username made by the directory is not the person's account in WeCom or the BI.
        return people if self._layout == Layout.OWN else {one for one in people if not one.has_made_username}

    def find_name(self, user_id: int) -> dict[str, str]:
        """Return the person's name as a value for a sentence; empty if the editor does not see the person."""
        person = find_visible_people(self._editor).filter(pk=user_id).first()
        return {"person": str(person)} if person else {}

    def may_set(self, attribute: Attribute) -> bool:
        return may_set(self._editor, attribute)

    def _fold(self, text: str) -> str:
        return fold_value(text) if self._match == Match.ATTRIBUTE else text.lower()

    def _find_people(self, rows: Sequence[Cells], attributes: Sequence[Attribute]) -> None:
        texts = {target: {cells[target] for cells in rows if cells.get(target)} for target in self._targets}
        if self._match == Match.ATTRIBUTE:
            for attribute in (one for one in attributes if one.is_employee_number):
                target = make_target(attribute)
                for folded, pks in find_holders(attribute=attribute, values=texts[target]).items():
                    self._found[target, folded] = pks
            self.people = User.objects.in_bulk({pk for pks in self._found.values() for pk in pks})
            return
        column = {Match.USERNAME: Lower("username"), Match.EMAIL: Lower("email")}.get(self._match, F("mobile"))
        values = {text.lower() for some in texts.values() for text in some}
        for user in User.objects.annotate(found_by=column).filter(found_by__in=values):
            self.people[user.pk] = user
            for target in self._targets:
                self._found.setdefault((target, user.found_by), set()).add(user.pk)


# Columns of User that our own sheets change, with their maximum lengths. Files of other layouts only find people by
# them, or set them for people who are created.
USER_COLUMNS = {NAME: 64, EMAIL: 254, MOBILE: 32}
USERID_CHARACTERS = 64


class RowRefusedError(Exception):
    """A row cannot be imported. `reason`: a key in accounts.explanations; `words`: values for its sentence."""

    def __init__(self, reason: str, **words: Any) -> None:
        super().__init__(reason)
        self.reason, self.words = reason, words


@dataclass(frozen=True, slots=True)
class AccountChange:
    """A new company and userid for a person's account. `account`: None for a new account."""

    account: WeComAccount | None
    corp: Corp | None
    userid: str


@dataclass(slots=True)
class Decision:
    """The result for one row. `user`: unsaved if the row creates the person. `changes`: [column, before, after] for
    each; empty if nothing differs. `reason`: why the row is refused (a key in accounts.explanations), with `words` for
    its sentence."""

    user: User | None = None
    changes: list[list[Any]] = field(default_factory=list)
    reason: str = ""
    words: dict[str, Any] = field(default_factory=dict)
    # What write_decisions() writes besides columns of User: the account, and values by attribute.
    account: AccountChange | None = None
    values: dict[Attribute, list[str]] = field(default_factory=dict)

    @property
    def creates(self) -> bool:
        return self.user is not None and self.user.pk is None


class RowClaims:
    """The people, accounts and unique values in earlier rows of the file, each of which may occur only once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Any], int] = {}

    def add(self, kind: str, key: Any, number: int) -> None:
        """Record a key for a row. Raises RowRefusedError if an earlier row has it. `kind`: "person", "account" or
        "value"."""
        earlier = self._rows.setdefault((kind, key), number)
        if earlier != number:
            raise RowRefusedError(f"twice_{kind}", row=earlier)


def decide_rows(
    *, run: PeopleImport, context: ImportContext, rows: Sequence[tuple[int, Cells]], claims: RowClaims
) -> list[Decision]:
    """Return a decision for each of `rows`. Each row is a pair of its number and its cells."""
    decisions = []
    for number, cells in rows:
        decision = Decision()
        try:
            decision.user = _find_person(run, context, cells)
            claims.add("person", decision.user.pk or decision.user.username.lower(), number)
            _RowComparison(run, context, number, cells, claims, decision, decision.user).find_changes()
        except RowRefusedError as refused:
            user = None if decision.creates else decision.user
            decision = Decision(user, [], refused.reason, refused.words)
        decisions.append(decision)
    return decisions


def _find_person(run: PeopleImport, context: ImportContext, cells: Cells) -> User:
    """Find the person of a row, or make an unsaved one without a password if the import creates people. Raises
    RowRefusedError."""
    account = cells.get(context.account_target, "")
    if context.account_target and not account:
        raise RowRefusedError("no_key")
    if run.layout == Layout.WECOM:
        holder = context.holders.get((_find_company(run, context, cells).pk, fold_userid(account)))
        if holder is not None and holder in context.people:
            return context.people[holder]
    people = context.find_people(cells)
    if len(people) > 1:
        raise RowRefusedError("several")
    if people:
        return people.pop()
    if not run.creates_people or not account:
        raise RowRefusedError("nobody")
    if not context.may_create:
        raise RowRefusedError("not_creator")
    if account.lower() in context.taken_usernames:
        raise RowRefusedError("username_taken")
    try:
        User._meta.get_field("username").run_validators(account)
    except ValidationError:
        raise RowRefusedError("bad_username", value=account[:64]) from None
    return User(username=account, password=make_password(None))


def _find_company(run: PeopleImport, context: ImportContext, cells: Cells) -> Corp:
    name = cells.get(COMPANY, "")
    corp = context.companies.get(name.strip().lower()) if name else run.corp
    if corp is None:
        raise RowRefusedError("unknown_company" if name else "no_company", company=name[:64])
    return corp


@dataclass(slots=True)
class _RowComparison:
    """The comparison of one row with its person. Adds the differences to `decision`."""

    run: PeopleImport
    context: ImportContext
    number: int
    cells: Cells
    claims: RowClaims
    decision: Decision
    user: User

    def find_changes(self) -> None:
        """Compare the row with its person. Raises RowRefusedError."""
        if self.run.layout == Layout.OWN or self.decision.creates:
            self._compare_person()
        if self.run.layout == Layout.OWN:
            self._compare_primary_account()
        elif self.run.layout == Layout.WECOM:
            corp, userid = _find_company(self.run, self.context, self.cells), self.cells[USERID]
            accounts = {one.corp_id: one for one in reversed(self.context.accounts[self.user.pk])}
            account = accounts.get(corp.pk) or accounts.get(None)
            has_userid = account is not None and account.userid_folded != ""
            if account is not None and has_userid and account.userid_folded != fold_userid(userid):
                raise RowRefusedError("other_account", company=corp.name)
            if account is None or not has_userid or account.corp_id != corp.pk:
                self._set_account(account, corp, userid)
        for attribute in self.context.attributes:
            text = self.cells.get(make_target(attribute))
            if text is not None and (text or self.run.clears_empty):
                self._compare_values(attribute, text)
        if self.decision.creates:
            created = self.decision.account
            # An administrator of some companies does not see a person without a company.
            if not self.context.sees_all and (created is None or created.corp is None):
                raise RowRefusedError("company_needed")

    def _compare_primary_account(self) -> None:
        account = next((one for one in self.context.accounts[self.user.pk] if one.is_primary), None)
        present_corp = account.corp if account else None
        present_name = present_corp.name if present_corp else ""
        name = self._read_new_value(COMPANY, present_name)
        corp = present_corp if name == present_name else self.context.companies.get(name.strip().lower())
        if name and corp is None:
            raise RowRefusedError("unknown_company", company=name[:64])
        self._set_account(account, corp, self._read_new_value(USERID, account.userid if account else ""))

    def _add_change(self, what: str, before: str, after: str) -> bool:
        """Add a change to the decision. Return False if both values are equal."""
        if before == after:
            return False
        self.decision.changes.append([what, before or None, after or None])
        return True

    def _read_new_value(self, target: str, present: str) -> str:
        """Return the text of a cell; the present value if the file lacks the column, or if an empty cell changes
        nothing."""
        text = self.cells.get(target)
        return present if text is None or (text == "" and not self.run.clears_empty) else text

    def _compare_person(self) -> None:
        if self.decision.creates:
            self._add_change(USERNAME, "", self.user.username)
        for name, longest in USER_COLUMNS.items():
            present: str = getattr(self.user, name)
            wanted = self._read_new_value(name, present)
            if name == EMAIL and self.decision.creates:
                wanted = wanted or self._read_new_value(BIZ_MAIL, "")
            if wanted == present:
                continue
            if len(wanted) > longest or not wanted.isprintable():
                raise RowRefusedError("bad_text", column=name, count=longest)
            if name == EMAIL and wanted:
                try:
                    validate_email(wanted)
                except ValidationError:
                    raise RowRefusedError("bad_email", value=wanted[:64]) from None
            self._add_change(name, present, wanted)

    # --- The two attributes of WeCom ----------------------------------------------------------------------------------

    def _set_account(self, account: WeComAccount | None, corp: Corp | None, userid: str) -> None:
        userid = remove_invisible(userid).strip()
        if len(userid) > USERID_CHARACTERS:
            raise RowRefusedError("bad_text", column=USERID, count=USERID_CHARACTERS)
        before = account.corp if account else None
        is_changed = self._add_change(COMPANY, before.name if before else "", corp.name if corp else "")
        is_changed |= self._add_change(USERID, account.userid if account else "", userid)
        if not is_changed:
            return
        if corp is None and before is not None and not self.context.sees_all:
            raise RowRefusedError("company_needed")
        if corp is not None:
            others = (one for one in self.context.accounts[self.user.pk] if account is None or one.pk != account.pk)
            if any(one.corp_id == corp.pk for one in others):
                raise RowRefusedError("other_account", company=corp.name)
            if userid:
                key = (corp.pk, fold_userid(userid))
                holder = self.context.holders.get(key, self.user.pk)
                if holder != self.user.pk:
                    raise RowRefusedError("account_taken", **self.context.find_name(holder))
                self.claims.add("account", key, self.number)
        self.decision.account = AccountChange(account, corp, userid)

    # --- User attributes ----------------------------------------------------------------------------------------------

    def _compare_values(self, attribute: Attribute, text: str) -> None:
        before = self.context.values[attribute.pk].get(self.user.pk, [])
        try:
            wanted = attribute.clean_values(attribute.split_values(text))
        except ValidationError as error:
            first = error.error_list[0]
            why = {"code": first.code, "params": first.params or {}}
            raise RowRefusedError("bad_value", column=attribute.name, **why) from None
        for value in wanted if attribute.is_unique else ():
            holders = self.context.value_holders[attribute.pk].get(fold_value(value), set()) - {self.user.pk}
            if holders:
                raise RowRefusedError("value_taken", value=value[:64], **self.context.find_name(min(holders)))
            self.claims.add("value", (attribute.pk, fold_value(value)), self.number)
        if not self._add_change(f"{ATTRIBUTE}{attribute.key}", "; ".join(before), "; ".join(wanted)):
            return
        if not self.context.may_set(attribute):
            raise RowRefusedError("not_yours", column=attribute.name)
        self.decision.values[attribute] = wanted


Action = AuditEntry.Action
# The audit trail records changes of the two WeCom attributes under these columns of WeComAccount.
_COLUMNS = {COMPANY: "corp", USERID: "userid"}


def write_decisions(decisions: Sequence[Decision]) -> None:
    """Write decisions. Call it inside a transaction that has locked the people's rows. Raises IntegrityError or
    ValueTakenError if somebody else has just taken a username, an account or a value."""
    existing = [one for one in decisions if not one.creates]
    _create_people([one for one in decisions if one.creates])
    changes: dict[User, list[list[Any]]] = {}
    for decision in existing:
        if changed := [change for change in decision.changes if change[0] in USER_COLUMNS]:
            changes[_get_user(decision)] = changed
    for user, changed in changes.items():
        for name, _before, after in changed:
            setattr(user, name, after or "")
    if changes:
        # Update only columns that change: each column adds a condition for every person to the statement.
        columns = {name for changed in changes.values() for name, _before, _after in changed}
        User.objects.bulk_update(changes, sorted(columns), batch_size=200)
        services.record_people({user.pk: changed for user, changed in changes.items()}, Action.CHANGED)
    _write_accounts([one for one in decisions if one.account is not None])
    values: dict[Attribute, dict[int, list[str]]] = defaultdict(dict)
    for decision in decisions:
        for attribute, wanted in decision.values.items():
            values[attribute][_get_user(decision).pk] = wanted
    for attribute, by_user in values.items():
        set_values(attribute=attribute, values=by_user)


def _create_people(decisions: list[Decision]) -> None:
    columns = []
    for decision in decisions:
        changes = [change for change in decision.changes if change[0] in {USERNAME, *USER_COLUMNS}]
        for name, _before, after in changes:
            setattr(_get_user(decision), name, after)
        columns.append(changes)
    people = User.objects.bulk_create([_get_user(one) for one in decisions], batch_size=200)
    services.record_people({user.pk: changes for user, changes in zip(people, columns, strict=True)}, Action.CREATED)


def _write_accounts(decisions: list[Decision]) -> None:
    new, created, changed = [], [], {}
    for decision in decisions:
        change = decision.account
        if change is None:
            continue
        recorded = [[_COLUMNS[what], before, after] for what, before, after in decision.changes if what in _COLUMNS]
        folded = fold_userid(change.userid)
        if change.account is None:
            account = WeComAccount(user=_get_user(decision), corp=change.corp, is_primary=False)
            account.userid, account.userid_folded = change.userid, folded
            new.append(account)
            created.append(recorded)
        else:
            rows = WeComAccount.objects.filter(pk=change.account.pk)
            left_at = {"left_at": None} if change.userid else {}
            rows.update(corp=change.corp, userid=change.userid, userid_folded=folded, **left_at)
            changed[change.account.pk] = recorded
    services.record_accounts(changed, Action.CHANGED)
    saved = WeComAccount.objects.bulk_create(new, batch_size=200)
    services.record_accounts({one.pk: recorded for one, recorded in zip(saved, created, strict=True)}, Action.CREATED)
    choose_primary_accounts([_get_user(one).pk for one in decisions])


def _get_user(decision: Decision) -> User:
    if decision.user is None:
        raise ValueError("a decision without a person is not written")
    return decision.user
