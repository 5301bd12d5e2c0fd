"""Loads in a few queries what is needed to decide on a batch of rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Lower

from accounts.importexport.columns import BIZ_MAIL, EMAIL, MOBILE, USERID, USERNAME, Layout, target_of
from accounts.models import Attribute, PeopleImport, User, WeComAccount, fold_userid, fold_value
from accounts.users.attribute_fields import may_set
from accounts.users.attributes import holders_of, values_of
from accounts.users.scopes import people_changeable_by, people_visible_to, sees_all
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
