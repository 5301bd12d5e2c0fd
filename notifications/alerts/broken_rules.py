"""Tells the owner of an alert rule, once each time, that its data lacks a column or a card which the rule names."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from notifications.delivery.locking import BATCH, unlocked
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.delivery.runs.notices import new_notice
from notifications.models import AlertRule, Run
from notifications.sources import Content


def request_notices(*, now: datetime) -> list[int]:
    """Make the notices of broken rules whose owners are not told yet. Returns the ids of their runs, to be rendered."""
    run_ids = []
    with transaction.atomic():
        for rule in unlocked(AlertRule.objects.untold().order_by("pk"))[:BATCH]:
            key, corp_id = f"rule:{rule.pk}:broken:{now:%Y%m%d%H%M%S}", rule.receiver.corp_id
            notice = new_notice(key=key, person_id=rule.owner_id, corp_id=corp_id, now=now)
            notice.save()
            AlertRule.objects.filter(pk=rule.pk).update(owner_notified_at=now, owner_notice=notice)
            run_ids.append(notice.pk)
    return run_ids


def content_of_notice(notice: Run) -> Content | None:
    """Return the content of a notice; None for one that tells of no broken rule."""
    rule = AlertRule.objects.filter(owner_notice=notice.pk).first()
    if rule is None:
        return None
    title = _("Alert rule does not work: %(name)s") % {"name": rule.name}
    text = _("%(problem)s\nUntil this is put right it raises no alert. Its page asks what the data is called today.")
    link = reverse("admin:notifications_alertrule_change", args=[rule.pk])
    return Content(tidy_title(title), tidy_text(text % {"problem": rule.problem}), link=link)
