"""Tells the owner of an alert rule, once each time, that its data lacks a column or a card which the rule names."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from notifications.delivery.leases import RENDER_LEASE
from notifications.delivery.locking import BATCH, unlocked
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.delivery.runs.owner_notices import NoticeSource
from notifications.models import AlertRule, Run
from notifications.sources import Content, OneContent


def request_notices(*, now: datetime) -> list[int]:
    """Make the notices of broken rules whose owners are not told yet. Returns the ids of their runs, to be rendered."""
    run_ids = []
    with transaction.atomic():
        for rule in unlocked(AlertRule.objects.untold().order_by("pk"))[:BATCH]:
            notice = Run.objects.create(
                key=f"rule:{rule.pk}:broken:{now:%Y%m%d%H%M%S}",
                corp_id=rule.receiver.corp_id,
                trigger=Run.Trigger.NOTICE,
                requested_by_id=rule.owner_id,
                slot_at=now,
                claimed_at=now,
                render_after=now + RENDER_LEASE,
            )
            AlertRule.objects.filter(pk=rule.pk).update(owner_notified_at=now, owner_notice=notice)
            run_ids.append(notice.pk)
    return run_ids


def source_of_broken_rule(run: Run) -> BrokenRuleSource | None:
    """None for a run that tells of no broken rule (notifications.sources.source_of)."""
    is_notice = run.trigger == Run.Trigger.NOTICE
    rule = AlertRule.objects.filter(owner_notice=run.pk).first() if is_notice else None
    return None if rule is None else BrokenRuleSource(run, rule)


class BrokenRuleSource(NoticeSource):
    """To the owner alone, as other notices."""

    def __init__(self, notice: Run, rule: AlertRule) -> None:
        super().__init__(notice)
        self._rule = rule

    def contents(self, *, now: datetime) -> OneContent:
        rule = self._rule
        title = _("Alert rule does not work: %(name)s") % {"name": rule.name}
        text = _(
            "%(problem)s\nUntil this is put right it raises no alert. Its page asks what the data is called today."
        )
        link = reverse("admin:notifications_alertrule_change", args=[rule.pk])
        return OneContent(Content(tidy_title(title), tidy_text(text % {"problem": rule.problem}), link=link))
