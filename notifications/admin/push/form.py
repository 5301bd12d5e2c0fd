"""The form of a push: a subscription and the report that it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from django import forms
from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from integrations.core.admin_pages import VERSION
from integrations.data.table import Table
from integrations.models import Card
from notifications.admin import report_forms
from notifications.admin.base import is_key
from notifications.admin.push.one_page import DraftedForm
from notifications.admin.report_forms import (
    CARDS_AT_MOST,
    CHARTS_AT_MOST,
    RULES_AT_MOST,
    TEMPLATES,
    ReportForm,
    read_parts,
)
from notifications.admin.subscription_forms import SubscriptionForm
from notifications.delivery.rendering.attachments import RecipientPages
from notifications.delivery.rendering.report_contents import ReportParts, expect
from notifications.models import (
    MessageForm,
    OwnRowsRule,
    PagePicture,
    Report,
    ReportCard,
    ReportChart,
    Subscription,
)
from notifications.reports.templates.column_names import ColumnName, find_columns, rename_columns
from notifications.sources import NOT_KNOWN, Expected

if TYPE_CHECKING:
    from django.http import QueryDict

    from accounts.models import User


# A content field that every page sends. If it is missing, the content is not changed.
CONTENT_IS_SENT = "title"
FOR_ALL, FOR_THIS = "all", "this"


class ContentForm(ReportForm):
    """The report form as part of a push's page. Its version field is renamed, as the push has one, too."""

    def add_prefix(self, field_name: str) -> str:
        return "content_version" if field_name == VERSION else super().add_prefix(field_name)


class PushForm(DraftedForm, SubscriptionForm):
    """The form of a push. `content`: the report's form on the same page; None if the person may not edit the report or
    it was not sent. `others`: names of other pushes with the same report. `copied`: set while saving if this push gets
    its own copy of the report. Field names do not collide: a report and a subscription have none in common."""

    # The report is compared separately, in `_check_same_content`.
    unversioned_fields = frozenset({"report"})
    # Builds the formsets of the page; set by the admin.
    make_formsets: ClassVar[Callable[[Subscription], Iterable[Any]]]
    content: ContentForm | None = None
    copied: CopiedReport | None = None
    # Applies a change of a shared report to all its pushes or to this push only.
    content_for = forms.ChoiceField(
        label=_("changes of the content"),
        choices=[
            (FOR_ALL, _("change it for all of them")),
            (FOR_THIS, _("keep theirs as it is; this push gets a copy")),
        ],
        widget=forms.RadioSelect,
        required=False,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.others: list[str] = []
        if "report" not in self.fields:  # people with view permission only get no fields
            return
        # Show an error for text that is too long instead of cutting it when it is pasted.
        self.fields["name"].widget.attrs.pop("maxlength", None)
        if self.instance._state.adding:
            self.initial["is_enabled"] = False
        found = self._report()
        self.content = self._content(found)
        if found is not None:
            others = Subscription.objects.filter(report=found).exclude(pk=self.instance.pk)
            self.others = list(others.order_by("name").values_list("name", flat=True))
        report: Any = self.fields["report"]
        report.required = False
        if self.content is not None:
            report.widget = forms.HiddenInput()
        # The formsets of the page belong to the report; without a report there are none.
        self.instance.content_at_work = self.content.instance if self.content is not None else None

    @property
    def part(self) -> ContentForm | None:
        return self.content

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude the report: that of a new push is not saved yet when the push is validated."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # the stubs do not know it
        return {*excluded, "report"}

    def is_copy_wanted(self) -> bool:
        """Return whether the person chose a copy of the report for this push, and may have one."""
        return self.may_copy() and self.data.get("content_for") == FOR_THIS

    def may_copy(self) -> bool:
        return bool(self.others) and self.person.has_perm("notifications.add_report")

    def clean(self) -> dict[str, Any]:
        """Validate with the unsaved report set, because recipient checks read its corp."""
        cleaned = self.cleaned_data
        if self.content is not None:
            self.content.is_valid()
            cleaned["report"] = self.content.instance  # also with errors, so that recipients are still shown
            self._check_same_content()
            if cleaned.get("message_form") == MessageForm.FILE and not report_forms.is_wanted(self.data):
                self.add_error("message_form", _("A PDF file is made of a page of the BI: choose its picture first."))
        elif cleaned.get("report") is None:
            cleaned.pop("report", None)
            self.add_error("report", _("Choose what is sent."))
        return super().clean()

    def _check_same_content(self) -> None:
        """Refuse a page opened before this push got its own report: it would change the shared one."""
        sent = str(self.data.get("report") or "")
        if not self.instance._state.adding and is_key(sent) and int(sent) != self.instance.report_id:
            message = _("This push sends another content since the page was opened. Reload it.")
            raise forms.ValidationError(message, code="other-content")

    def has_own_rows(self, report: Report) -> bool:
        """Return whether the report limits rows per person, read from the page if it has the report's form."""
        return super().has_own_rows(report) if self.content is None else bool(self.parts[0].own_rows)

    @cached_property
    def parts(self) -> tuple[ReportParts, str]:
        """The report as it was sent, and the problem of the first invalid row."""
        report: Report = self.instance.content_at_work
        return read_parts(report, type(self).make_formsets(self.instance))

    def expected(self, cleaned: dict[str, Any]) -> Expected:
        if self.content is None:
            return super().expected(cleaned)
        parts, problem = self.parts
        if problem:  # the form is not complete yet
            return NOT_KNOWN
        now, owner_id = timezone.now(), self.person.pk if report_forms.is_owners(self.data) else None
        order = Subscription(time_zone=cleaned.get("time_zone") or settings.TIME_ZONE)
        tables = parts.find_latest_tables() if parts.own_rows else {}

        def pages() -> RecipientPages | None:
            return None if parts.picture is None else RecipientPages(parts.picture, now, owner_id=owner_id)

        return expect(parts, tables, order, now, pages)

    def _report(self) -> Report | None:
        """Return the saved push's report, or for a new push the one in the form or URL. None if not visible."""
        if not self.instance._state.adding:
            return cast("Report", self.instance.report)
        source: Mapping[str, Any] = self.data if self.is_bound else self.initial
        key = str(getattr(source.get("report"), "pk", source.get("report")) or "")
        visible = Report.objects.visible_to(self.person)
        return visible.filter(pk=int(key)).first() if is_key(key) else None

    def _content(self, report: Report | None) -> ContentForm | None:
        permission = "notifications.add_report" if report is None else "notifications.change_report"
        if not self.person.has_perm(permission) or (self.is_bound and CONTENT_IS_SENT not in self.data):
            return None
        form = type("PersonalContentForm", (ContentForm,), {"person": self.person})
        content: ContentForm = form(self.data if self.is_bound else None, instance=report)
        content.spared_subscription = self.instance.pk
        content.is_for_copy = self.data.get("content_for") == FOR_THIS
        self.forgive(content)
        return content


Row = TypeVar("Row", bound=Model)

PARTS = (ReportCard, ReportChart, OwnRowsRule, PagePicture)
NAME_CHARACTERS = 128


@dataclass(frozen=True)
class CopiedReport:
    """A copied report. `parts`: for each model, the key of the original → the key of its copy."""

    report: Report
    parts: Mapping[type[Any], Mapping[int, int]]


@transaction.atomic
def copy_report(report: Report) -> CopiedReport:
    """Copy a report with its cards, charts, own-row rules and page picture, as stored in the database."""
    copied = _without_key(Report.objects.get(pk=report.pk))
    copied.save()
    parts = {}
    for model in PARTS:
        keys: dict[int, int] = {}
        for part in model._default_manager.filter(report=report.pk).order_by("pk"):
            old = part.pk
            new = _without_key(part)
            new.report = copied
            if isinstance(new, PagePicture):  # only the owner may share what the owner sees
                new.shown_as = new.ended_by = new.ended_at = None
            new.save()
            keys[old] = new.pk
        parts[model] = keys
    return CopiedReport(copied, parts)


@transaction.atomic
def copy_push(subscription: Subscription, *, owner: User) -> Subscription:
    """Copy a push with its report, recipients and schedule. The copy is disabled and belongs to `owner`."""
    copied = _without_key(Subscription.objects.get(pk=subscription.pk))
    copied.name = copy_name(subscription.name)
    copied.owner, copied.is_enabled, copied.is_paused, copied.next_run_at = owner, False, False, None
    copied.failures_paused_at = copied.failures_counted_from = copied.form_key = None
    copied.report = copy_report(subscription.report).report
    copied.save()
    for name in ("users", "groups", "departments"):
        getattr(copied, name).set(getattr(subscription, name).all())
    for rule in subscription.attribute_rules.all():
        new = _without_key(rule)
        new.subscription = copied
        new.save()
    return copied


def copy_name(name: str) -> str:
    """Append "(copy)" to `name`, which is cut to keep within NAME_CHARACTERS."""
    ending = gettext(" (copy)")
    return f"{name[: NAME_CHARACTERS - len(ending)]}{ending}"


def _without_key(row: Row) -> Row:
    """Turn a loaded row into an unsaved one."""
    row.pk = None
    row._state.adding = True
    return row


CARDS_OFFERED = 200
# Minimum similarity (0 to 1) of a missing column's name and the name proposed for it.
ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Missing:
    """A column or card that no longer exists. `column`: empty if the card is missing. `choices`: value and label;
    `proposed` is preselected."""

    alias: str
    heading: str
    column: str
    choices: list[tuple[str, str]]
    proposed: str = ""


@dataclass(frozen=True, slots=True)
class Renaming:
    """Replacements. `columns`: old column → new name. `cards`: alias → key of the new card."""

    columns: Mapping[ColumnName, str] = field(default_factory=dict)
    cards: Mapping[str, str] = field(default_factory=dict)


def missing_columns(
    named: Iterable[ColumnName], tables: Mapping[str, Table], headings: Mapping[str, str]
) -> list[Missing]:
    """Return the columns in `named` that their tables lack. `tables`: loaded tables by alias; a table without columns
    is skipped."""
    found = []
    for alias, column in dict.fromkeys(named):
        names = tables[alias].names
        if names and column not in names:
            proposed = next(iter(get_close_matches(column, names, n=1, cutoff=ALIKE)), "")
            found.append(Missing(alias, headings[alias], column, [(name, name) for name in names], proposed))
    return found


def missing_card(alias: str, heading: str, person: User) -> Missing:
    """Describe a card that its source no longer has, with the cards that `person` may choose instead."""
    cards = Card.objects.visible_to(person).order_by("name", "pk").values_list("pk", "name")[:CARDS_OFFERED]
    return Missing(alias, heading, "", [(str(key), name) for key, name in cards])


def renaming_in(values: QueryDict) -> Renaming:
    """Read the replacements from a form: `_alias`, `_from` and `_to` are parallel lists; `_from` is empty for a
    card."""
    wanted = zip(*(values.getlist(name) for name in ("_alias", "_from", "_to")), strict=False)
    columns, cards = {}, {}
    for alias, column, to in wanted:
        if column and to:
            columns[alias, column] = to
        elif is_key(to):
            cards[alias] = to
    return Renaming(columns, cards)


def changes(values: QueryDict, renaming: Renaming) -> dict[str, str]:
    """Return the new values of the form fields in which `renaming` changes something, by field name."""
    columns = renaming.columns
    texts = {name: rename_columns(values.get(name, ""), columns) for name in TEMPLATES if "is_template" in values}
    for name, alias, lines in _column_fields(values):
        texts[name] = "\n".join(columns.get((alias, line.strip()), line) for line in lines)
    changed = {name: text for name, text in texts.items() if text != values.get(name, "")}
    for prefix in _rows(values, "report_cards", CARDS_AT_MOST):
        key = renaming.cards.get(values.get(f"{prefix}-alias", "").strip())
        if key is not None and f"{prefix}-card" in values:
            changed[f"{prefix}-card"] = key
    return changed


def columns_named(values: QueryDict, tables: Mapping[str, Table]) -> Iterator[ColumnName]:
    """Yield every column of the cards in `tables` that the submitted push names."""
    for name in TEMPLATES if "is_template" in values else ():
        yield from find_columns(values.get(name, ""), tables.keys())
    for _name, alias, lines in _column_fields(values):
        yield from ((alias, column) for line in lines if alias in tables and (column := line.strip()))


def _column_fields(values: QueryDict) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each chart or own-row field that names columns: its name, the card's alias, the field's lines."""
    for prefix in [*_rows(values, "charts", CHARTS_AT_MOST), *_rows(values, "own_rows_rules", RULES_AT_MOST)]:
        alias = values.get(f"{prefix}-alias", "").strip()
        for name in (f"{prefix}-{column}" for column in ("x", "series", "y", "column")):
            if name in values:
                yield name, alias, values.get(name, "").split("\n")


def _rows(values: Mapping[str, Any], prefix: str, most: int) -> list[str]:
    """Return the prefixes of the rows that are not deleted."""
    names = [f"{prefix}-{number}" for number in range(most * 2)]
    return [name for name in names if f"{name}-alias" in values and not values.get(f"{name}-DELETE")]
