"""A comparison of the push engine's rows with the messages on the sandbox's phones, receipt by receipt."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from notifications.models import Channel, CorpQueue, Delivery, MessageForm, Receipt, Run

# How often each message arrived, by company, folded userid and mark of the delivery. A picture has no mark; its
# media_id serves instead, which is unique to the delivery.
Arrived = Counter[tuple[str, str, str]]
_MARK = re.compile(r"(?:/m/|[?&]m=)([0-9a-f]{32})|\"media_id\": ?\"([^\"]+)\"")
_GOES_ON = Delivery.UNSETTLED
_MAY_HAVE_ARRIVED = {*_GOES_ON, Delivery.Status.UNKNOWN}


def count_arrived(messages: Iterable[Mapping[str, Any]], corpid: str) -> Arrived:
    """Count what arrived at a company's people. `messages` come from the sandbox's `companies/{corpid}/messages`."""
    found: Arrived = Counter()
    for message in messages:
        if message.get("robot"):
            continue
        mark = _mark_in(json.dumps(message, ensure_ascii=False), "")
        found.update((corpid, folded, mark) for folded in message["receivers"])
    return found


def count_in_groups(messages: Iterable[Mapping[str, Any]]) -> int:
    """Count the messages that a robot brought."""
    return sum(bool(message.get("robot")) for message in messages)


def find_wrong_groups(corpid: str, count: int) -> list[str]:
    """Compare the number of messages in a group with what was sent.

    A robot's message is there once if it was accepted, and perhaps if the outcome is unknown: it has no mark.
    """
    sent = Delivery.objects.filter(channel=Channel.ROBOT, corpid=corpid)
    accepted = sent.filter(status=Delivery.Status.ACCEPTED).count()
    at_most = accepted + sent.filter(status__in=_MAY_HAVE_ARRIVED).count()
    if accepted <= count <= at_most:
        return []
    return [f"the group of {corpid} has {count} messages, of which {accepted} to {at_most} were sent"]


def _mark_in(text: str, default: str) -> str:
    marks: list[tuple[str, str]] = _MARK.findall(text)
    found = [mark for mark, _media in marks if mark] or [media for _mark, media in marks]
    return found[0] if found else default


def marks() -> dict[str, Delivery]:
    """Map the mark of each of the app's deliveries, as phones show it, to the delivery."""
    rows = (
        Delivery.objects.filter(channel=Channel.WECOM).exclude(status=Delivery.Status.PREPARING).select_related("run")
    )
    return {_mark_of(row): row for row in rows}


def _mark_of(delivery: Delivery) -> str:
    if delivery.message_form != MessageForm.IMAGE:
        return delivery.mark
    return _mark_in(bytes(delivery.body).decode(), delivery.mark)


def find_wrong_receipts(found: Arrived, *, deaf: Collection[tuple[str, str]] = ()) -> list[str]:
    """Return a sentence for each receipt that disagrees with the phone.

    `deaf` holds company and folded userid of people whom WeCom did not reach for a while. A message that was
    accepted on a repeat may claim to have reached them, because WeCom does not name them a second time.
    """
    said: list[str] = []
    explained: set[tuple[str, str, str]] = set()
    receipts = Receipt.objects.filter(delivery__channel=Channel.WECOM).select_related("delivery")
    for receipt in receipts.order_by("pk"):
        assert receipt.delivery is not None
        delivery, folded = receipt.delivery, receipt.address.partition(":")[2]
        key = (delivery.corpid, folded, _mark_of(delivery))
        explained.add(key)
        is_excused = delivery.unclear_since is not None and key[:2] in deaf
        said += _complaints(receipt, delivery, found[key], is_excused=is_excused)
    said += [f"{key} stands on a phone, and no receipt knows of it" for key in found if key not in explained]
    return said


def _complaints(receipt: Receipt, delivery: Delivery, count: int, *, is_excused: bool) -> Iterator[str]:
    status = receipt.status or delivery.status
    what = f"delivery {delivery.pk} ({delivery.status}), {receipt.address}: {status}, on the phone {count} times"
    if count > 1:
        yield f"twice: {what}"
    if status == Delivery.Status.ACCEPTED and count == 0 and not is_excused:
        yield f"never arrived: {what}"
    if count and status not in {Delivery.Status.ACCEPTED, *_MAY_HAVE_ARRIVED}:
        yield f"arrived against the receipt: {what}"
    if count and delivery.status == Delivery.Status.PENDING and delivery.unclear_since is None:
        yield f"arrived, and would be sent afresh: {what}"


def find_doubled(found: Arrived) -> list[str]:
    """Return a sentence for each person who has a run twice: in two messages, or resent although it had arrived."""
    runs = {mark: delivery.run_id for mark, delivery in marks().items()}
    origins: dict[int, int | None] = dict(Run.objects.filter(resends__isnull=False).values_list("pk", "resends"))
    known = [(key, runs[key[2]]) for key in found if key[2] in runs]
    has = Counter((run, *key[:2]) for key, run in known)
    said = [f"{people} had a run {count} times" for people, count in has.items() if count > 1]
    return said + [
        f"run {run} was sent again to {key[:2]}, who had it"
        for key, run in known
        if (origins.get(run), *key[:2]) in has
    ]


def find_unfounded() -> list[str]:
    """Return deliveries that were not accepted and lack a reason that the documentation names."""
    said = []
    for delivery in Delivery.objects.exclude(status=Delivery.Status.ACCEPTED).select_related("run").defer("body"):
        if not _is_founded(delivery):
            said.append(f"delivery {delivery.pk} is {delivery.status} (errcode {delivery.errcode}) without a reason")
    return said


def _is_founded(delivery: Delivery) -> bool:
    worthless = delivery.settled_at is not None and delivery.settled_at >= delivery.expires_at
    taken_back = delivery.is_recall_requested
    match delivery.status:
        case Delivery.Status.CANCELED:
            # None of its recipients is left.
            return (worthless or taken_back or delivery.recipient_count == 0) and delivery.unclear_since is None
        case Delivery.Status.UNKNOWN:
            return delivery.unclear_since is not None
        case Delivery.Status.FAILED:
            # WeCom named all recipients as invalid.
            return not delivery.receipts.exclude(status=Receipt.Status.INVALID).exists()
    return False


def find_unfinished(*, now: datetime) -> list[str]:
    runs = Run.objects.filter(status__in=[Run.Status.WAITING, Run.Status.SENDING]).order_by("pk")
    deliveries = Delivery.objects.unsettled().order_by("pk").defer("body")
    return [f"run {run.pk} is {run.status}, to be rendered {run.render_after - now} from now" for run in runs] + [
        f"delivery {each.pk} of corp {each.corp_id} is {each.status}, attempt {each.attempt_count}, due in "
        f"{each.next_attempt_at - now}, queued {each.queued_until}, lease {each.lease_until}, errcode {each.errcode}"
        for each in deliveries
    ]


def find_due_moments(*others: QuerySet[Any]) -> list[datetime]:
    """Return every time at which the engine has something to do. `others`: further columns of times, as values_list."""
    columns = (
        Delivery.objects.unsettled().values_list("next_attempt_at", "queued_until", "lease_until"),
        Run.objects.filter(status=Run.Status.WAITING).values_list("render_after"),
        CorpQueue.objects.blocked().values_list("probe_at"),
        *others,
    )
    return [moment for rows in columns for row in rows for moment in row if moment is not None]
