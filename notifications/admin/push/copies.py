"""Copies of a content, and of a push with its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import transaction
from django.db.models import Model
from django.utils.translation import gettext as _

from notifications.models import (
    AttributeRule,
    OwnRowsRule,
    PagePicture,
    Report,
    ReportCard,
    ReportChart,
    Subscription,
)

if TYPE_CHECKING:
    from accounts.models import User

Row = TypeVar("Row", bound=Model)

PARTS = (ReportCard, ReportChart, OwnRowsRule, PagePicture)
NAME_CHARACTERS = 128


@dataclass(frozen=True)
class CopiedReport:
    """`parts`: by their class the key of each copy, by the key of what it copies."""

    report: Report
    parts: Mapping[type[Any], Mapping[int, int]]


@transaction.atomic
def copy_report(report: Report) -> CopiedReport:
    """The report with its cards, charts, rules of own rows and page picture, as they stand in the database."""
    copied = _without_key(Report.objects.get(pk=report.pk))
    copied.save()
    parts = {}
    for model in PARTS:
        keys: dict[int, int] = {}
        for part in model._default_manager.filter(report=report.pk).order_by("pk"):
            old = part.pk
            new = _without_key(part)
            new.report = copied
            if isinstance(new, PagePicture):  # nobody but the owner shows others what they may see
                new.shown_as = new.ended_by = new.ended_at = None
            new.save()
            keys[old] = new.pk
        parts[model] = keys
    return CopiedReport(copied, parts)


@transaction.atomic
def copy_push(subscription: Subscription, *, owner: User) -> Subscription:
    """A disabled push that is the same otherwise: its content, recipients and schedule. `owner`: of the copy."""
    copied = _without_key(Subscription.objects.get(pk=subscription.pk))
    copied.name = copy_name(subscription.name)
    copied.owner, copied.is_enabled, copied.is_paused, copied.next_run_at = owner, False, False, None
    copied.failures_paused_at = copied.failures_counted_from = copied.form_key = None
    copied.report = copy_report(subscription.report).report
    copied.save()
    for name in ("users", "groups", "departments"):
        getattr(copied, name).set(getattr(subscription, name).all())
    for rule in AttributeRule.objects.of(subscription):
        new = _without_key(rule)
        new.subscription = copied
        new.save()
    return copied


def copy_name(name: str) -> str:
    """Cut where it would become too long."""
    ending = _(" (copy)")
    return f"{name[: NAME_CHARACTERS - len(ending)]}{ending}"


def _without_key(row: Row) -> Row:
    """The same row, which is not saved yet."""
    row.pk = None
    row._state.adding = True
    return row
