"""Decides what each row of a sheet would change. Pure: rows in, decisions out.

Of people whom the administrator may not change it is said what is said where there is nobody: a file must not tell who
exists elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.importexport.columns import (
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
from accounts.importexport.lookups import Known
from accounts.models import Attribute, PeopleImport, User, WeComAccount, fold_userid, fold_value
from integrations.core.validators import without_invisible
from integrations.models import Corp

Cells = Mapping[str, str]
Match = PeopleImport.Match
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
