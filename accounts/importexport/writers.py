"""Writes sheets of people, to be edited and uploaded again. No cell is a formula. As xlsx: xlsx_writer."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _

from accounts.importexport.readers import guarded
from accounts.importexport.rows import ROWS_AT_MOST
from accounts.models import Attribute, User, WeComAccount
from accounts.users.attributes import shown, values_of
from accounts.users.scopes import people_visible_to
from integrations.models import Corp
from integrations.models.scoping import Person

STEP = 1000


class Sheet:
    """The people whom `reader` sees, with the attributes of this moment.

    `people`: a queryset, or their keys. `progress` is told after every thousand how many rows there are so far.
    """

    def __init__(
        self,
        *,
        people: QuerySet[User] | Sequence[int],
        reader: Person,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._people, self._reader, self._progress = people, reader, progress
        self.attributes = list(Attribute.objects.by_name())
        self.companies = list(Corp.objects.visible_to(reader).order_by("name").values_list("name", flat=True))

    def titles(self) -> list[str]:
        """As accounts.importexport.columns knows them, in the active language."""
        fixed = [_("username"), _("full name"), _("email address"), _("mobile"), _("WeCom company name")]
        return [*fixed, _("WeCom account"), *(one.name for one in self.attributes)]

    def rows(self) -> Iterator[list[str]]:
        """A thousand people at a time, by their keys: three queries, and one for each attribute. At most as many as
        an import takes."""
        count = 0
        for people in self._steps():
            keys = [user.pk for user in people]
            values = {one.pk: values_of(attribute=one, users=keys) for one in self.attributes}
            for user in people:
                yield [*_of_user(user), *(shown(values[one.pk].get(user.pk, [])) for one in self.attributes)]
            count += len(people)
            self._progress(count)

    def _steps(self) -> Iterator[list[User]]:
        if not isinstance(self._people, QuerySet):
            keys = sorted(self._people)[:ROWS_AT_MOST]
            visible = people_visible_to(self._reader)
            for start in range(0, len(keys), STEP):
                yield self._loaded(visible.filter(pk__in=keys[start : start + STEP]), STEP)
            return
        last, left = 0, ROWS_AT_MOST
        while left > 0 and (people := self._loaded(self._people.filter(pk__gt=last), min(STEP, left))):
            yield people
            last, left = people[-1].pk, left - len(people)

    def _loaded(self, people: QuerySet[User], size: int) -> list[User]:
        accounts = WeComAccount.objects.visible_to(self._reader).filter(is_primary=True).select_related("corp")
        chosen = people.order_by("pk").prefetch_related(
            Prefetch("wecom_accounts", accounts, to_attr="primary_accounts")
        )
        return list(chosen[:size])


def _of_user(user: User) -> list[str]:
    accounts: list[WeComAccount] = user.primary_accounts  # type: ignore[attr-defined]  # set by the Prefetch
    account = accounts[0] if accounts else None
    company = account.corp.name if account and account.corp else ""
    return [user.username, user.name, user.email, user.mobile, company, account.userid if account else ""]


def csv_lines(sheet: Sheet) -> Iterator[str]:
    """With the mark by which Excel knows UTF-8."""
    yield "\ufeff" + csv_line(sheet.titles())
    for row in sheet.rows():
        yield csv_line(row)


def csv_line(texts: Sequence[str]) -> str:
    """One line of csv with its end, each text guarded against being read as a formula."""
    target = io.StringIO()
    csv.writer(target).writerow(guarded(text) for text in texts)
    return target.getvalue()
