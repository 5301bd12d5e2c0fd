"""Whom a run did not reach though it ended: in sentences, for its page and for the owner of its subscription.

A run that ended is no success by itself: its messages may have been refused, been worthless before they could be sent,
or have an outcome that nobody knows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import F, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from notifications.models import Delivery, Receipt, Run

Status = Delivery.Status


def of_ended(run_ids: Collection[int]) -> dict[int, str]:
    """By run what it lost, for those of these runs that lost anything. One query.

    People whom WeCom names, as invalid or without licence, are no loss while others got it: their receipts say so, and
    in a large company there is always one.
    """
    rows = Delivery.objects.filter(run__in=run_ids).order_by().values_list("run", "status")
    people = Sum(F("recipient_count") - F("invalid_count") - F("unlicensed_count"))
    counts: dict[int, dict[str, int]] = {run_id: {} for run_id in run_ids}
    for run_id, status, count in rows.annotate(people=people):
        counts[run_id][status] = count
    found = {run_id: _sentences(by_status) for run_id, by_status in counts.items()}
    return {run_id: words for run_id, words in found.items() if words}


def shown(runs: Collection[Run]) -> dict[int, str]:
    """By run why it was missed or failed, or whom it did not reach, in the reader's language. Three queries at most.

    What a run that ended lost is told from its rows: what stands in them as text says only that it lost something.
    """
    found = {run.pk: run.error for run in runs}
    ended = [run.pk for run in runs if run.status == Run.Status.FINISHED and run.error]
    if not ended:
        return found
    with_messages = set(Delivery.objects.filter(run__in=ended).order_by().values_list("run", flat=True).distinct())
    found |= of_ended(with_messages)
    reasons: dict[int, set[Receipt.Reason | None]] = {pk: set() for pk in ended if pk not in with_messages}
    skipped = Receipt.objects.filter(run__in=reasons).order_by().values_list("run", "reason").distinct()
    for run_id, reason in skipped:
        reasons[run_id].add(Receipt.Reason(reason) if reason else None)
    return found | {run_id: without_messages(its_reasons) or found[run_id] for run_id, its_reasons in reasons.items()}


def without_messages(reasons: Collection[Receipt.Reason | None]) -> str:
    """What to say of a run that made no message at all. `reasons`: of the people whom it skipped; empty where they
    wanted none, or were meant to get none."""
    if not reasons:
        return _("It reached nobody: nobody is chosen.")
    return "" if Receipt.NOT_SENT_AGAIN.issuperset(reasons) else _nobody()


def _sentences(people: Mapping[str, int]) -> str:
    failed, canceled, unknown = (people.get(status, 0) for status in (Status.FAILED, Status.CANCELED, Status.UNKNOWN))
    said = []
    if failed:
        sentence = ngettext("Refused for %(count)d recipient.", "Refused for %(count)d recipients.", failed)
        said.append(sentence % _number(failed))
    if canceled:
        sentence = ngettext(
            "Worthless before it could be sent to %(count)d recipient.",
            "Worthless before it could be sent to %(count)d recipients.",
            canceled,
        )
        said.append(sentence % _number(canceled))
    if unknown:
        sentence = ngettext(
            "Of %(count)d recipient nobody knows whether it arrived.",
            "Of %(count)d recipients nobody knows whether it arrived.",
            unknown,
        )
        said.append(sentence % _number(unknown))
    if not said and not people.get(Status.ACCEPTED, 0):
        return _nobody()
    return " ".join(said)


def _nobody() -> str:
    return _("It reached nobody: the receipts say why.")


def _number(count: int) -> dict[str, Any]:
    return {"count": count}
