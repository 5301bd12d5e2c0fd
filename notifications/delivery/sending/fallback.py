"""Sends by the second channel to people whom WeCom reported as unreachable."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import translation

from accounts.models import WeComAccount
from notifications.delivery.locking import share_freezing
from notifications.delivery.rendering.freeze import mail_batches, write_deliveries
from notifications.delivery.rendering.report_contents import ReportParts, SubscriptionSource
from notifications.models import Channel, Delivery, Receipt, Run
from notifications.sources import Content, RenderingError
from notifications.subscriptions.recipients import Recipient, mail_address

logger = logging.getLogger(__name__)

REFUSED = (Receipt.Status.INVALID, Receipt.Status.UNLICENSED)


def fall_back(run_ids: Collection[int], *, now: datetime) -> int:
    """Mail those whom the first channel of these runs did not reach. Returns how many mails.

    The caller has locked the runs, with nothing under way. Whoever has a mail of the run already gets no second one.
    Whoever leaves meanwhile gets none, or one that is withdrawn: who withdraws waits for us.
    """
    if not run_ids:
        return 0
    runs = Run.objects.filter(
        Exists(_unreached().filter(run=OuterRef("pk"))),
        pk__in=run_ids,
        subscription__fallback_channel=Channel.EMAIL,
        recall_requested_at__isnull=True,
    )
    found = list(runs.select_related("subscription__report").order_by("pk"))
    if not found:
        return 0
    share_freezing(set(_unreached().filter(run__in=found).order_by().values_list("delivery__corp", flat=True)))
    return sum(_mailed(run, now) for run in found)


def _unreached() -> QuerySet[Receipt]:
    mailed = Receipt.objects.filter(run=OuterRef("run"), user=OuterRef("user"), channel=Channel.EMAIL)
    # WeCom names leavers as invalid: they get no mail in its place.
    barred = WeComAccount.objects.shut_out().filter(user=OuterRef("user"), corp=OuterRef("delivery__corp"))
    people = Receipt.objects.filter(channel=Channel.WECOM, status__in=REFUSED, user__is_active=True)
    people = people.exclude(user__email="").exclude(delivery__recall_requested_at__isnull=False)
    return people.filter(~Exists(mailed), ~Exists(barred))


def _mailed(run: Run, now: datetime) -> int:
    if run.subscription is None:
        return 0
    source = SubscriptionSource(run, run.subscription, ReportParts(run.subscription.report))
    rows = _unreached().filter(run=run).order_by("pk").values_list("delivery_id", *_COLUMNS)
    people = {_recipient(*row): delivery_id for delivery_id, *row in rows}
    sent = Delivery.objects.only("title", "text", "link", "content").in_bulk(set(people.values()))

    def content_of(person: Recipient) -> tuple[Content, int | None]:
        """What WeCom was handed for the person: of own rows these, as they were."""
        delivery = sent[people[person]]
        return Content(delivery.title, delivery.text, link=delivery.link), delivery.content_id

    with translation.override(settings.LANGUAGE_CODE):
        try:
            batches = list(mail_batches(list(people), source.terms.corp_id, content_of))
            write_deliveries(run, source, batches, now)
        except RenderingError as error:
            logger.warning("run=%d: no mail to those who were not reached: %s", run.pk, error)
            return 0
    _count(run, list(people))
    return len(batches)


_COLUMNS = ("user_id", "delivery__corp_id", "user__email")


def _recipient(user_id: int, corp_id: int | None, email: str) -> Recipient:
    address = mail_address(user_id, email)
    return Recipient(user_id, corp_id, "", address, reason=None, channel=Channel.EMAIL, email=email)


def _count(run: Run, people: Sequence[Recipient]) -> None:
    Run.objects.filter(pk=run.pk).update(recipient_count=F("recipient_count") + len(people))
