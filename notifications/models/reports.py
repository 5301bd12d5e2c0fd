"""Parts of a report: cards, charts, own-rows rules."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Attribute
from accounts.models.attributes import VALUE_CHARACTERS
from integrations.models import Card
from notifications.charts.definition import TOP, TOP_AT_MOST, Aggregate, Chart, ChartKind, Sort, from_document
from notifications.models.subscriptions import Report

ALIAS_CHARACTERS = 32
COLUMN_CHARACTERS = 128


class ReportCard(models.Model):
    """A card of a report."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="report_cards", verbose_name=_("report"))
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="report_cards", verbose_name=_("card"))
    # A valid Jinja2 name, by which templates refer to the card.
    alias = models.CharField(
        _("name in templates"),
        max_length=ALIAS_CHARACTERS,
        validators=[
            RegexValidator(r"^[^\W\d_]\w*\Z", _("A word of letters, digits and “_” that begins with a letter."))
        ],
        help_text=_('For example sales: then {{ sales.sum("amount") }} is the sum of a column.'),
    )
    title = models.CharField(
        _("heading"), max_length=128, blank=True, help_text=_("Above its table; empty: the card's name.")
    )
    position = models.PositiveSmallIntegerField(_("place"), default=0)

    class Meta:
        verbose_name = _("card of a report")
        verbose_name_plural = _("cards of the report")
        ordering = ["position", "pk"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["report", "alias"], name="one_card_per_alias_of_report")]

    def __str__(self) -> str:
        return f"{self.alias}: {self.card}"

    @property
    def heading(self) -> str:
        return self.title or self.card.name


class OwnRowsRule(models.Model):
    """A rule that each person sees only those rows of a card whose column has one of their values, or a fixed one.

    All rules of a card must hold (notifications.reports.row_filters). PROTECT: deleting a rule with its attribute would
    show everybody everything.
    """

    # Placeholders for the person's own values in WeCom.
    OF_PERSON: ClassVar = {"@userid": _("WeCom account"), "@department": _("department in WeCom")}

    report = models.ForeignKey(
        Report, on_delete=models.CASCADE, related_name="own_rows_rules", verbose_name=_("report")
    )
    alias = models.CharField(_("card"), max_length=ALIAS_CHARACTERS, help_text=_("Its name in templates."))
    column = models.CharField(_("column"), max_length=COLUMN_CHARACTERS)
    attribute = models.ForeignKey(
        Attribute,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="own_rows_rules",
        verbose_name=_("user attribute"),
        help_text=_("Each person sees the rows whose cell is one of their values."),
    )
    value = models.CharField(
        _("or a fixed value"), max_length=VALUE_CHARACTERS, blank=True, help_text=_("Everybody sees these rows.")
    )

    class Meta:
        verbose_name = _("rule of own rows")
        verbose_name_plural = _("own rows: who sees which")
        ordering = ["pk"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(attribute__isnull=False, value="") | (Q(attribute__isnull=True) & ~Q(value="")),
                name="own_rows_by_attribute_or_value",
            )
        ]

    def __str__(self) -> str:
        value = self.OF_PERSON.get(self.value, self.value)
        return f"{self.report}: {self.alias}.{self.column} = {self.attribute or value}"


# --- How a report's cards are drawn ---


class ReportChart(models.Model):
    """A chart of a card. The report's first one is the picture of messages that carry one."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="charts", verbose_name=_("report"))
    alias = models.CharField(_("card"), max_length=ALIAS_CHARACTERS, help_text=_("Its name in templates."))
    kind = models.CharField(_("kind"), max_length=16, choices=ChartKind.choices, default=ChartKind.LINE)
    title = models.CharField(_("heading"), max_length=128, blank=True)
    x = models.CharField(
        _("column along the axis"),
        max_length=COLUMN_CHARACTERS,
        blank=True,
        help_text=_("Dates go from left to right; names become lying bars, or the parts of a pie."),
    )
    # One per line: names may hold any other separator.
    y = models.TextField(
        _("columns of values"), blank=True, help_text=_("One a line. Several are several lines, or columns of a table.")
    )
    series = models.CharField(
        _("column that splits"),
        max_length=COLUMN_CHARACTERS,
        blank=True,
        help_text=_("Each of its values gets a line or a colour of its own; more than six are one."),
    )
    unit = models.CharField(_("unit"), max_length=16, blank=True, help_text=_("Empty: the column's own."))
    top = models.PositiveSmallIntegerField(
        _("at most"),
        default=TOP,
        validators=[MinValueValidator(1), MaxValueValidator(TOP_AT_MOST)],
        help_text=_("The most bars, parts or rows; the rest becomes one, “others”."),
    )
    sort = models.CharField(
        pgettext_lazy("of bars and rows", "order"), max_length=16, choices=Sort.choices, default=Sort.AS_IS
    )
    aggregate = models.CharField(
        _("rows at the same place"), max_length=16, choices=Aggregate.choices, default=Aggregate.SUM
    )
    position = models.PositiveSmallIntegerField(_("place"), default=0)

    class Meta:
        verbose_name = _("chart of a report")
        verbose_name_plural = _("charts of the report")
        ordering = ["position", "pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.alias}: {self.get_kind_display()}"

    @property
    def chart(self) -> Chart:
        """The definition for drawing."""
        names = ("kind", "title", "x", "series", "unit", "top", "sort", "aggregate")
        columns = [name for line in self.y.splitlines() if (name := line.strip())]
        return from_document({**{name: getattr(self, name) for name in names}, "y": columns})
