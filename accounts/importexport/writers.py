"""Writes sheets of people, to be edited and uploaded again. No cell is a formula."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _

from accounts.importexport.readers import ROWS_AT_MOST, guarded
from accounts.models import Attribute, User, WeComAccount
from accounts.users.attributes import shown, values_of
from accounts.users.roles import people_visible_to
from integrations.clients.late import Late
from integrations.models import Corp
from integrations.models.fields import Person

if TYPE_CHECKING:
    import openpyxl
    import openpyxl.styles
    import openpyxl.utils
    import openpyxl.worksheet.datavalidation
else:
    openpyxl = Late("openpyxl")


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
        """As accounts.importexport.readers knows them, in the active language."""
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


WIDTH = 20
_COMPANY_COLUMN, _USERID_COLUMN = 4, 5


def write_xlsx(sheet: Sheet) -> IO[bytes]:
    """A temporary file, to be read from its beginning. Every cell is text, so that nothing is rounded or computed;
    companies and choices are lists to choose from."""
    book = openpyxl.Workbook(write_only=True)
    people, lists = book.create_sheet(_("People")), book.create_sheet("lists")
    lists.sheet_state = "hidden"
    style = openpyxl.styles.NamedStyle("text", number_format="@", alignment=openpyxl.styles.Alignment(vertical="top"))
    book.add_named_style(style)
    titles = sheet.titles()
    for column in range(1, len(titles) + 1):
        people.column_dimensions[openpyxl.utils.get_column_letter(column)].width = WIDTH
    people.freeze_panes = "B2"
    _add_choices(people, lists, sheet)
    people.append([_head(people, title) for title in titles])
    with ExitStack() as unfinished:
        # Why? What was written so far stands in a temporary file, which an abandoned sheet would leave open.
        unfinished.callback(lists.close)
        unfinished.callback(people.close)
        for row in sheet.rows():
            people.append([_text(people, text) for text in row])
        unfinished.pop_all()
    target = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    book.save(target)
    target.seek(0)
    return target


def _head(sheet: Any, title: str) -> Any:
    cell = _text(sheet, title)
    cell.font, cell.fill = openpyxl.styles.Font(bold=True), openpyxl.styles.PatternFill("solid", fgColor="E6EEF8")
    return cell


def _text(sheet: Any, text: str) -> Any:
    cell = openpyxl.cell.WriteOnlyCell(sheet)
    cell.style = "text"
    if text:
        cell.value = openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", text)
        # Set afterwards, because a text that begins with = has made it a formula.
        cell.data_type = "s"
    return cell


def _add_choices(people: Any, lists: Any, sheet: Sheet) -> None:
    columns = [(_COMPANY_COLUMN + 1, sheet.companies, True)]
    fixed = _USERID_COLUMN + 2
    columns += [
        (fixed + number, one.choices, not one.is_many_valued)
        for number, one in enumerate(sheet.attributes)
        if one.kind == Attribute.Kind.CHOICE
    ]
    columns = [(column, choices, is_strict) for column, choices, is_strict in columns if choices]
    for number, (column, choices, is_strict) in enumerate(columns, 1):
        letter, source = openpyxl.utils.get_column_letter(column), openpyxl.utils.get_column_letter(number)
        rule = openpyxl.worksheet.datavalidation.DataValidation(
            "list", formula1=f"lists!${source}$1:${source}${len(choices)}", allow_blank=True
        )
        # Of several values, joined by semicolons, Excel offers one: others may be typed.
        rule.showErrorMessage = is_strict
        rule.add(f"{letter}2:{letter}{ROWS_AT_MOST}")
        people.data_validations.append(rule)
    for row in range(max((len(choices) for _column, choices, _strict in columns), default=0)):
        texts = [choices[row] if row < len(choices) else "" for _column, choices, _strict in columns]
        lists.append([_text(lists, text) for text in texts])
