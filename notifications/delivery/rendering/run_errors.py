"""Explains whom an ended run did not reach, for its page and for the subscription's owner.

An ended run is no success by itself: its messages may have been refused, expired, or have an unknown outcome.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import Case, Count, F, Sum, Value, When

from integrations.core.sentences import Sentence, counted_sentence, joined
from notifications.models import Delivery, Receipt, Run

Status = Delivery.Status
# Of messages that were taken back alone: whoever did that wanted them not to arrive.
_TAKEN_BACK = "taken back"
_NOT_MADE = "not made"
_NOBODY = Sentence("It reached nobody: the receipts say why.")


def of_ended(run_ids: Collection[int]) -> dict[int, Sentence]:
    """Map runs to what they lost, for those of these runs that lost anything. Two queries.

    People whom WeCom names, as invalid or without licence, are no loss while others got it: their receipts say so, and
    in a large company there is always one.
    """
    state = Case(When(recall_requested_at__isnull=False, then=Value(_TAKEN_BACK)), default=F("status"))
    rows = Delivery.objects.filter(run__in=run_ids).order_by().annotate(state=state).values_list("run", "state")
    people = Sum(F("recipient_count") - F("invalid_count") - F("unlicensed_count"))
    counts: dict[int, dict[str, int]] = {run_id: {} for run_id in run_ids}
    for run_id, its_state, count in rows.annotate(people=people):
        counts[run_id][its_state] = count
    unmade = Receipt.objects.filter(run__in=run_ids, run__skipped_count__gt=0, reason=Receipt.Reason.NO_MESSAGE)
    for run_id, count in unmade.order_by().values_list("run").annotate(people=Count("pk")):
        counts[run_id][_NOT_MADE] = count
    found = {run_id: _sentence(by_status) for run_id, by_status in counts.items()}
    return {run_id: sentence for run_id, sentence in found.items() if sentence is not None}


def shown(runs: Collection[Run]) -> dict[int, str]:
    """Map runs to why they were missed or failed, or whom it did not reach, in the reader's language. Four queries at
    most.

    What a run that ended lost is told from its rows: what stands in them as text says only that it lost something.
    """
    found = {run.pk: run.error_text for run in runs}
    ended = [run.pk for run in runs if run.status == Run.Status.FINISHED and run.error]
    if not ended:
        return found
    with_messages = set(Delivery.objects.filter(run__in=ended).order_by().values_list("run", flat=True).distinct())
    found |= {run_id: str(sentence) for run_id, sentence in of_ended(with_messages).items()}
    reasons: dict[int, set[Receipt.Reason | None]] = {pk: set() for pk in ended if pk not in with_messages}
    skipped = Receipt.objects.filter(run__in=reasons).order_by().values_list("run", "reason").distinct()
    for run_id, reason in skipped:
        reasons[run_id].add(Receipt.Reason(reason) if reason else None)
    return found | {run_id: str(without_messages(known) or found[run_id]) for run_id, known in reasons.items()}


def without_messages(reasons: Collection[Receipt.Reason | None]) -> Sentence | None:
    """What to say of a run that made no message at all. `reasons`: of the people whom it skipped; empty where they
    wanted none, or were meant to get none."""
    if not reasons:
        return Sentence("It reached nobody: nobody is chosen.")
    others = set(reasons) - Receipt.NOT_SENT_AGAIN
    # Where there are no rows for anybody, somebody's empty attribute makes no difference.
    is_meant = not others or (others == {Receipt.Reason.NO_VALUE} and len(reasons) > 1)
    return None if is_meant else _NOBODY


# By the state of a message how many people it did not reach.
_LOSSES = {
    Status.FAILED: counted_sentence("Refused for %(count)d recipient.", "Refused for %(count)d recipients.", 0),
    Status.CANCELED: counted_sentence(
        "Expired before it could be sent to %(count)d recipient.",
        "Expired before it could be sent to %(count)d recipients.",
        0,
    ),
    Status.UNKNOWN: counted_sentence(
        "For %(count)d recipient it is not known whether the message arrived.",
        "For %(count)d recipients it is not known whether the message arrived.",
        0,
    ),
    _NOT_MADE: counted_sentence(
        "For %(count)d recipient no message could be made: the receipt says why.",
        "For %(count)d recipients no message could be made: the receipts say why.",
        0,
    ),
}


def _sentence(people: Mapping[str, int]) -> Sentence | None:
    said = [sentence % {"count": people[state]} for state, sentence in _LOSSES.items() if people.get(state)]
    if not said and not people.get(Status.ACCEPTED, 0) and _TAKEN_BACK not in people:
        return _NOBODY
    return joined(said) if said else None
