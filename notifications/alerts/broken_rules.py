"""Tells the owner of an alert rule, once each time, that its data lacks a column or a card which the rule names."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from notifications.delivery.leases import RENDER_LEASE
from notifications.delivery.locking import BATCH, unlocked
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.models import AlertRule, Channel, MessageForm, Priority, Run
from notifications.sources import Audience, Content, OneContent, Terms

if TYPE_CHECKING:
    from integrations.models import Corp, SiteAddress

LIFETIME_HOURS = 24


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


class BrokenRuleSource:
    """What the notice says, and to whom: to the owner alone, by WeCom, else by mail."""

    terms = Terms(MessageForm.TEXTCARD, Priority.URGENT, LIFETIME_HOURS)

    def __init__(self, notice: Run, rule: AlertRule) -> None:
        self._notice, self._rule = notice, rule

    def audience(self) -> Audience:
        owner_id = self._notice.requested_by_id
        return Audience(user_ids=[] if owner_id is None else [owner_id], fallback_channel=Channel.EMAIL)

    def contents(self, *, now: datetime) -> OneContent:
        rule = self._rule
        title = _("Alert rule does not work: %(name)s") % {"name": rule.name}
        text = _(
            "%(problem)s\nUntil this is put right it raises no alert. Its page asks what the data is called today."
        )
        link = reverse("admin:notifications_alertrule_change", args=[rule.pk])
        return OneContent(Content(tidy_title(title), tidy_text(text % {"problem": rule.problem}), link=link))

    def app_body(self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime) -> None:
        """As its message form says."""

    def note_unreached(self, reason: str) -> None:
        """Its run says it."""
