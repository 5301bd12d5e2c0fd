"""Decides what each row of a sheet would change. Pure: rows in, decisions out.

Of people whom the administrator may not change it is said what is said where there is nobody: a file must not tell who
exists elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import F, Q
from django.db.models.functions import Lower

from accounts.audit import services
from accounts.importexport.readers import (
    ATTRIBUTE,
    BIZ_MAIL,
    COMPANY,
    EMAIL,
    MOBILE,
    NAME,
    USERID,
    USERNAME,
    Layout,
    target_of,
)
from accounts.models import Attribute, AuditEntry, PeopleImport, User, WeComAccount, fold_userid, fold_value
from accounts.users.attributes import holders_of, may_set, set_values, values_of
from accounts.users.companies import settle_primary_accounts
from accounts.users.roles import people_changeable_by, people_visible_to, sees_all
from integrations.core.validators import without_invisible
from integrations.models import Corp

Cells = Mapping[str, str]
Match = PeopleImport.Match


class Known:
    """For the rows of one step. About twelve queries, and two for each attribute that the file has."""

    def __init__(self, *, run: PeopleImport, editor: User, rows: Sequence[Cells]) -> None:
        self._run, self._editor = run, editor
        self.sees_all = sees_all(editor)
        every = list(Attribute.objects.by_name())
        self.login_attribute = next((one for one in every if one.is_bi_login_id), None)
        self._numbers = [one for one in every if one.is_employee_number]
        self.attributes = [one for one in every if any(target_of(one) in cells for cells in rows)]
        self._companies = {one.name.strip().lower(): one for one in Corp.objects.visible_to(editor)}
        self._people: dict[int, User] = {}
        self._by_username = self._index(Lower("username"), self._usernames(rows))
        self._by_email = self._index(Lower("email"), self._wanted(rows, Match.EMAIL, EMAIL, BIZ_MAIL))
        self._by_mobile = self._index(F("mobile"), self._wanted(rows, Match.MOBILE, MOBILE))
        self._by_number = self._numbered(rows)
        self._load_holders(rows)
        self._keep_changeable()
        self._load_accounts()
        self._values = {one.pk: values_of(attribute=one, users=list(self._people)) for one in self.attributes}

    # --- Whom a row is about: only those who may be changed -----------------------------------------------------------

    def by_username(self, username: str) -> set[User]:
        """Of several that differ in capitals only, the one that is spelt so."""
        found = self._found(self._by_username, username.lower())
        exact = {user for user in found if user.username == username}
        return exact or found

    def by_email(self, emails: Iterable[str]) -> set[User]:
        return {user for email in emails for user in self._found(self._by_email, email.lower())}

    def by_mobile(self, mobile: str) -> set[User]:
        return self._found(self._by_mobile, mobile)

    def by_employee_number(self, cells: Cells) -> set[User]:
        keys = ((one.pk, fold_value(cells[target_of(one)])) for one in self._numbers if cells.get(target_of(one)))
        return {user for key in keys for user in self._found(self._by_number, key)}

    def by_account(self, corp: Corp, userid: str) -> User | None:
        holder = self._holders.get((corp.pk, fold_userid(userid)))
        return self._people.get(holder) if holder is not None else None

    def _found(self, index: Mapping[Any, set[int]], key: Any) -> set[User]:
        return {self._people[pk] for pk in index.get(key, ()) if pk in self._people}

    # --- What they have -----------------------------------------------------------------------------------------------

    def company(self, name: str) -> Corp | None:
        return self._companies.get(name.strip().lower())

    def accounts_of(self, user: User) -> list[WeComAccount]:
        return self._accounts[user.pk]

    def primary_account(self, user: User) -> WeComAccount | None:
        return next((one for one in self._accounts[user.pk] if one.is_primary), None)

    def holder_of_account(self, corp: Corp, userid: str) -> int | None:
        return self._holders.get((corp.pk, fold_userid(userid)))

    def values(self, attribute: Attribute, user: User) -> list[str]:
        return self._values[attribute.pk].get(user.pk, [])

    def holder_of_value(self, attribute: Attribute, value: str, user: User) -> int | None:
        """Somebody else who has it."""
        return next(iter(self._value_holders[attribute.pk].get(fold_value(value), set()) - {user.pk}), None)

    def may_set(self, attribute: Attribute) -> bool:
        return may_set(self._editor, attribute)

    def name_of(self, user_id: int) -> dict[str, str]:
        """Who has something already, for whom one may see; nothing for others."""
        person = people_visible_to(self._editor).filter(pk=user_id).first()
        return {"person": str(person)} if person else {}

    # --- Loading ------------------------------------------------------------------------------------------------------

    def _usernames(self, rows: Sequence[Cells]) -> set[str]:
        if self._run.layout == Layout.OWN:
            return {cells.get(USERNAME, "").lower() for cells in rows} - {""}
        if self._run.match_by != Match.USERNAME:
            return set()
        login = target_of(self.login_attribute) if self.login_attribute else ""
        target = USERID if self._run.layout == Layout.WECOM else login
        return {cells.get(target, "").lower() for cells in rows} - {""}

    def _wanted(self, rows: Sequence[Cells], match: Match, *targets: str) -> set[str]:
        if self._run.layout == Layout.OWN or self._run.match_by != match:
            return set()
        return {cells.get(target, "").lower() for cells in rows for target in targets} - {""}

    def _index(self, column: Any, values: set[str]) -> dict[str, set[int]]:
        found: dict[str, set[int]] = defaultdict(set)
        if values:
            for user in User.objects.annotate(found_by=column).filter(found_by__in=values):
                self._people[user.pk] = user
                found[user.found_by].add(user.pk)
        return found

    def _numbered(self, rows: Sequence[Cells]) -> dict[tuple[int, str], set[int]]:
        found: dict[tuple[int, str], set[int]] = {}
        if self._run.layout == Layout.OWN or self._run.match_by != Match.ATTRIBUTE:
            return found
        for attribute in self._numbers:
            texts = {cells[target_of(attribute)] for cells in rows if cells.get(target_of(attribute))}
            for folded, pks in holders_of(attribute=attribute, values=texts).items():
                found[attribute.pk, folded] = pks
        pks = {pk for some in found.values() for pk in some}
        self._people |= {user.pk: user for user in User.objects.filter(pk__in=pks)}
        return found

    def _load_holders(self, rows: Sequence[Cells]) -> None:
        """Who has the accounts and values of the rows."""
        userids = {fold_userid(cells[USERID]) for cells in rows if cells.get(USERID)}
        accounts = WeComAccount.objects.filter(userid_folded__in=userids, corp__isnull=False).select_related("user")
        self._holders: dict[tuple[int | None, str], int] = {}
        for account in accounts:
            self._holders[account.corp_id, account.userid_folded] = account.user_id
            self._people.setdefault(account.user_id, account.user)
        self._value_holders = {
            one.pk: holders_of(attribute=one, values=_parts(one, rows)) for one in self.attributes if one.is_unique
        }

    def _keep_changeable(self) -> None:
        allowed = people_changeable_by(self._editor).filter(pk__in=list(self._people))
        kept = set(allowed.order_by().values_list("pk", flat=True))
        self._people = {pk: user for pk, user in self._people.items() if pk in kept}

    def _load_accounts(self) -> None:
        self._accounts: dict[int, list[WeComAccount]] = defaultdict(list)
        accounts = WeComAccount.objects.filter(Q(user__in=list(self._people))).select_related("corp")
        for account in accounts.order_by("-is_primary", "pk"):
            self._accounts[account.user_id].append(account)


def _parts(attribute: Attribute, rows: Sequence[Cells]) -> list[str]:
    texts = (cells.get(target_of(attribute), "") for cells in rows)
    return [part for text in texts if text for part in attribute.parts(text)]


# Columns of a person that our own sheet sets, with their longest value; other files only find people by them.
OF_PERSON = {NAME: 64, EMAIL: 254, MOBILE: 32}
USERID_CHARACTERS = 64


class RowRefusedError(Exception):
    """`reason`: a word of accounts.explanations; `words`: what fills its sentence."""

    def __init__(self, reason: str, **words: Any) -> None:
        super().__init__(reason)
        self.reason, self.words = reason, words


@dataclass(slots=True)
class Decision:
    """`changes`: what is to be written, as [what, before, after]; empty where nothing differs, or for a `reason`."""

    user: User | None = None
    changes: list[list[Any]] = field(default_factory=list)
    reason: str = ""
    words: dict[str, Any] = field(default_factory=dict)
    # What changes() has found, for whoever writes it: the account with its new company and userid, values by attribute.
    account: tuple[WeComAccount | None, Corp | None, str] | None = None
    values: dict[Attribute, list[str]] = field(default_factory=dict)


class Seen:
    """What earlier rows of the same file have said: nobody twice, and nothing to two people that belongs to one."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Any], int] = {}

    def claim(self, kind: str, key: Any, number: int) -> None:
        """Raises RowRefusedError where an earlier row has it."""
        earlier = self._rows.setdefault((kind, key), number)
        if earlier != number:
            raise RowRefusedError(f"twice_{kind}", row=earlier)


def decide(*, run: PeopleImport, known: Known, rows: Sequence[tuple[int, Cells]], seen: Seen) -> list[Decision]:
    """One for each of `rows`, which are numbers with cells."""
    return [_decided(run, known, number, cells, seen) for number, cells in rows]


def _decided(run: PeopleImport, known: Known, number: int, cells: Cells, seen: Seen) -> Decision:
    decision = Decision()
    try:
        decision.user = _person(run, known, cells)
        seen.claim("person", decision.user.pk, number)
        _Row(run, known, number, cells, seen, decision).find_changes()
    except RowRefusedError as refused:
        return Decision(decision.user, [], refused.reason, refused.words)
    return decision


def _person(run: PeopleImport, known: Known, cells: Cells) -> User:
    """Whom a row is about. Raises RowRefusedError."""
    if run.layout == Layout.OWN:
        return _only(known.by_username(_needed(cells, USERNAME)))
    if run.layout == Layout.WECOM:
        userid = _needed(cells, USERID)
        linked = known.by_account(_company(run, known, cells), userid)
        return linked if linked is not None else _only(_by_choice(run, known, cells, userid))
    login = known.login_attribute
    return _only(_by_choice(run, known, cells, _needed(cells, target_of(login)) if login else ""))


def _needed(cells: Cells, target: str) -> str:
    text = cells.get(target, "")
    if not text:
        raise RowRefusedError("no_key")
    return text


def _by_choice(run: PeopleImport, known: Known, cells: Cells, account: str) -> set[User]:
    if run.match_by == Match.USERNAME:
        # One that the directory has made is nobody's account elsewhere.
        return {user for user in known.by_username(account) if not user.has_made_username}
    if run.match_by == Match.EMAIL:
        return known.by_email([cells[one] for one in (EMAIL, BIZ_MAIL) if cells.get(one)])
    if run.match_by == Match.MOBILE:
        return known.by_mobile(cells.get(MOBILE, ""))
    return known.by_employee_number(cells)


def _only(people: set[User]) -> User:
    if len(people) > 1:
        raise RowRefusedError("several")
    if not people:
        raise RowRefusedError("nobody")
    return next(iter(people))


def _company(run: PeopleImport, known: Known, cells: Cells) -> Corp:
    name = cells.get(COMPANY, "")
    corp = known.company(name) if name else run.corp
    if corp is None:
        raise RowRefusedError("unknown_company" if name else "no_company", company=name[:64])
    return corp


class _Row:
    """The differences between one row and its person."""

    def __init__(
        self, run: PeopleImport, known: Known, number: int, cells: Cells, seen: Seen, decision: Decision
    ) -> None:
        assert decision.user is not None  # noqa: S101  # the caller has found somebody
        self._run, self._known, self._number, self._cells, self._seen = run, known, number, cells, seen
        self._decision, self._user = decision, decision.user

    def find_changes(self) -> None:
        """Raises RowRefusedError."""
        if self._run.layout == Layout.OWN:
            self._of_person()
            self._of_primary_account()
        elif self._run.layout == Layout.WECOM:
            self._of_account_in(_company(self._run, self._known, self._cells))
        self._of_attributes()

    def _changed(self, what: str, before: str, after: str) -> bool:
        if before == after:
            return False
        self._decision.changes.append([what, before or None, after or None])
        return True

    def _text(self, target: str, now: str) -> str:
        """What a cell asks for: what is there now where the column is missing or the cell says nothing."""
        text = self._cells.get(target)
        if text is None or (text == "" and not self._run.clears_empty):
            return now
        return text

    # --- Name, e-mail, mobile -----------------------------------------------------------------------------------------

    def _of_person(self) -> None:
        for name, longest in OF_PERSON.items():
            now: str = getattr(self._user, name)
            wanted = self._text(name, now)
            if wanted == now:
                continue
            if len(wanted) > longest or not wanted.isprintable():
                raise RowRefusedError("bad_text", column=name, count=longest)
            if name == EMAIL and wanted:
                try:
                    validate_email(wanted)
                except ValidationError:
                    raise RowRefusedError("bad_email", value=wanted[:64]) from None
            self._changed(name, now, wanted)

    # --- The two attributes of WeCom ----------------------------------------------------------------------------------

    def _of_primary_account(self) -> None:
        account = self._known.primary_account(self._user)
        before = account.corp if account else None
        name_before = before.name if before else ""
        name = self._text(COMPANY, name_before)
        corp = before if name == name_before else self._known.company(name) if name else None
        if name and corp is None:
            raise RowRefusedError("unknown_company", company=name[:64])
        userid = self._text(USERID, account.userid if account else "")
        self._set_account(account, corp, userid)

    def _of_account_in(self, corp: Corp) -> None:
        userid = self._cells[USERID]
        accounts = self._known.accounts_of(self._user)
        account = next((one for one in accounts if one.corp_id == corp.pk), None)
        if account is None:
            account = next((one for one in accounts if one.corp_id is None), None)
        elif account.userid_folded == fold_userid(userid):
            return
        if account is not None and account.userid_folded and account.userid_folded != fold_userid(userid):
            raise RowRefusedError("other_account", company=corp.name)
        self._set_account(account, corp, userid)

    def _set_account(self, account: WeComAccount | None, corp: Corp | None, userid: str) -> None:
        userid = without_invisible(userid).strip()
        if len(userid) > USERID_CHARACTERS:
            raise RowRefusedError("bad_text", column=USERID, count=USERID_CHARACTERS)
        before = account.corp if account else None
        is_changed = self._changed(COMPANY, before.name if before else "", corp.name if corp else "")
        is_changed |= self._changed(USERID, account.userid if account else "", userid)
        if not is_changed:
            return
        if corp is None and before is not None and not self._known.sees_all:
            raise RowRefusedError("company_needed")
        if corp is not None:
            self._check_account(account, corp, userid)
        self._decision.account = (account, corp, userid)

    def _check_account(self, account: WeComAccount | None, corp: Corp, userid: str) -> None:
        others = (one for one in self._known.accounts_of(self._user) if account is None or one.pk != account.pk)
        if any(one.corp_id == corp.pk for one in others):
            raise RowRefusedError("other_account", company=corp.name)
        if not userid:
            return
        holder = self._known.holder_of_account(corp, userid)
        if holder is not None and holder != self._user.pk:
            raise RowRefusedError("account_taken", **self._known.name_of(holder))
        self._seen.claim("account", (corp.pk, fold_userid(userid)), self._number)

    # --- User attributes ----------------------------------------------------------------------------------------------

    def _of_attributes(self) -> None:
        for attribute in self._known.attributes:
            text = self._cells.get(target_of(attribute))
            if text is None or (text == "" and not self._run.clears_empty):
                continue
            self._of_attribute(attribute, text)

    def _of_attribute(self, attribute: Attribute, text: str) -> None:
        before = self._known.values(attribute, self._user)
        try:
            wanted = attribute.cleaned(attribute.parts(text))
        except ValidationError as error:
            first = error.error_list[0]
            raise RowRefusedError(
                "bad_value", column=attribute.name, code=first.code, params=first.params or {}
            ) from None
        self._claim_values(attribute, wanted)
        if not self._changed(f"{ATTRIBUTE}{attribute.key}", "; ".join(before), "; ".join(wanted)):
            return
        if not self._known.may_set(attribute):
            raise RowRefusedError("not_yours", column=attribute.name)
        self._decision.values[attribute] = wanted

    def _claim_values(self, attribute: Attribute, wanted: list[str]) -> None:
        if not attribute.is_unique:
            return
        for value in wanted:
            holder = self._known.holder_of_value(attribute, value, self._user)
            if holder is not None:
                raise RowRefusedError("value_taken", value=value[:64], **self._known.name_of(holder))
            self._seen.claim("value", (attribute.pk, fold_value(value)), self._number)


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
        services.record_people(changes, Action.CHANGED)


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
    services.record_accounts(changed, Action.CHANGED)
    made = WeComAccount.objects.bulk_create(new, batch_size=200)
    services.record_accounts({one.pk: said for one, said in zip(made, created, strict=True)}, Action.CREATED)
    settle_primary_accounts([_user(one).pk for one in decisions])


def _account_changes(decision: Decision) -> list[list[Any]]:
    return [[_COLUMNS[what], before, after] for what, before, after in decision.changes if what in _COLUMNS]
