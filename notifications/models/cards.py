"""What a report is made of: its cards, whose rows each person sees, and what was frozen of it for its deliveries."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Attribute
from accounts.models.attributes import VALUE_CHARACTERS
from integrations.models import Card
from notifications.models.orders import Report

ALIAS_CHARACTERS = 32
COLUMN_CHARACTERS = 128


class ReportCard(models.Model):
    """One card of a report, in its order."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="report_cards", verbose_name=_("report"))
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="report_cards", verbose_name=_("card"))
    # As templates name it: a word that Jinja2 takes for a name.
    alias = models.CharField(
        _("name in templates"),
        max_length=ALIAS_CHARACTERS,
        validators=[
            RegexValidator(r"[^\W\d_]\w*\Z", _("A word of letters, digits and “_” that begins with a letter."))
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
    """Of one card each person sees those rows alone in which the column has a value of theirs, or a fixed one.

    Several of a card must all hold (notifications.reports.own_rows). Why PROTECT? A rule that goes with its attribute
    would show everybody everything.
    """

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
        return f"{self.report}: {self.alias}.{self.column} = {self.attribute or self.value}"
