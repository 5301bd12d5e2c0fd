"""Days on which China works or not, as administrators entered them: they count before the published ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

_DAY = r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
_LINE = re.compile(rf"{_DAY}(?:\s*(?:to|至|到|[-~～–—])\s*{_DAY})?[\s,，;；]+(?:(off|休)|work|班)(?:[\s,，;；].*)?")  # noqa: RUF001  # as people write them


def read_days(text: str) -> Mapping[date, bool]:
    """Map days to whether China works. Raises ValidationError for a line that cannot be read."""
    days: dict[date, bool] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.fullmatch(line.strip())
        try:
            numbers = [int(each) for each in found.groups()[:6] if each] if found else []
            first, last = date(*numbers[:3]), date(*numbers[-3:])
            stretch = range((last - first).days + 1)
        except (TypeError, ValueError):
            stretch = range(0)
        if found and 0 < len(stretch) <= 31:  # no holiday is as long; a slip of the pen in a year is longer
            days |= {first + timedelta(days=ahead): not found[7] for ahead in stretch}
        elif line.strip():
            sentence = gettext("Line %(number)d cannot be read: “%(line)s”.")
            raise ValidationError(sentence % {"number": number, "line": line.strip()[:64]})
    return days


def check_days(text: str) -> None:
    """Raises ValidationError."""
    read_days(text)


class WorkdayCalendarQuerySet(models.QuerySet["WorkdayCalendar"]):
    def entered(self) -> Mapping[date, bool]:
        return read_days(self.values_list("days", flat=True).first() or "")


class WorkdayCalendar(models.Model):
    """One row, for all companies: the calendar of China is one."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    days = models.TextField(
        _("holidays and make-up days"),
        blank=True,
        validators=[check_days],
        help_text=_(
            "They count before those that this version knows. One line for each day or stretch: the date, off or work, "
            "and a name, as “2027-02-05 to 2027-02-11 off Spring Festival” or “2027-02-14 work”. Several lines can be "
            "pasted at once."
        ),
    )

    objects = WorkdayCalendarQuerySet.as_manager()

    class Meta:
        verbose_name = pgettext_lazy("menu", "Holidays")
        verbose_name_plural = pgettext_lazy("menu", "Holidays")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_workday_calendar")]

    def __str__(self) -> str:
        return str(_("holidays and make-up days"))
