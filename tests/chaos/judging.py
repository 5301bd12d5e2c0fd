"""Holds the rows of the push engine against what stands on the sandbox's phones, one receipt after the other."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from notifications.models import Delivery, Receipt, Run

# Company, folded userid, mark of the delivery: how often it arrived there.
Arrived = Counter[tuple[str, str, str]]
_MARK = re.compile(r"/m/([0-9a-f]{32})/")
_GOES_ON = Delivery.UNSETTLED
_MAY_HAVE_ARRIVED = {*_GOES_ON, Delivery.Status.UNKNOWN}


def arrived(messages: Iterable[Mapping[str, Any]], corpid: str) -> Arrived:
    """What a company's people have. `messages`: of the sandbox's `companies/{corpid}/messages`."""
    found: Arrived = Counter()
    for message in messages:
        marks = _MARK.findall(json.dumps(message, ensure_ascii=False))
        found.update((corpid, folded, marks[0]) for folded in message["receivers"])
    return found


def wrongs(found: Arrived, *, deaf: Collection[tuple[str, str]] = ()) -> list[str]:
    """What does not fit, in sentences; empty when every receipt says what stands on the phone.

    `deaf`: company and folded userid of people whom WeCom did not reach for a while. A message that was accepted on a
    repeat may claim to have reached them: WeCom does not name them a second time.
    """
    said: list[str] = []
    explained: set[tuple[str, str, str]] = set()
    receipts = Receipt.objects.filter(delivery__isnull=False).select_related("delivery").defer("delivery__body")
    for receipt in receipts.order_by("pk"):
        assert receipt.delivery is not None
        delivery, folded = receipt.delivery, receipt.address.partition(":")[2]
        key = (delivery.corpid, folded, delivery.mark)
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
    if status == Receipt.Status.ACCEPTED and count == 0 and not is_excused:
        yield f"never arrived: {what}"
    if count and status not in {Receipt.Status.ACCEPTED, *_MAY_HAVE_ARRIVED}:
        yield f"arrived against the receipt: {what}"
    if count and delivery.status == Delivery.Status.PENDING and delivery.unclear_since is None:
        yield f"arrived, and would be sent afresh: {what}"


def doubled(found: Arrived) -> list[str]:
    """Who has a run twice, by two of its messages or by being sent it again though it had arrived; in sentences."""
    runs: dict[str, int] = dict(Delivery.objects.values_list("mark", "run"))
    origins: dict[int, int | None] = dict(Run.objects.filter(resends__isnull=False).values_list("pk", "resends"))
    known = [(key, runs[key[2]]) for key in found if key[2] in runs]
    has = Counter((run, *key[:2]) for key, run in known)
    said = [f"{people} had a run {count} times" for people, count in has.items() if count > 1]
    return said + [
        f"run {run} was sent again to {key[:2]}, who had it"
        for key, run in known
        if (origins.get(run), *key[:2]) in has
    ]


def unfounded() -> list[str]:
    """Deliveries that ended otherwise than accepted, without a reason that the documentation names."""
    said = []
    for delivery in Delivery.objects.exclude(status=Delivery.Status.ACCEPTED).select_related("run").defer("body"):
        if not _is_founded(delivery):
            said.append(f"delivery {delivery.pk} is {delivery.status} (errcode {delivery.errcode}) without a reason")
    return said


def _is_founded(delivery: Delivery) -> bool:
    worthless = delivery.settled_at is not None and delivery.settled_at >= delivery.expires_at
    taken_back = delivery.run.recall_asked_at is not None
    match delivery.status:
        case Delivery.Status.CANCELED:
            return (worthless or taken_back) and delivery.unclear_since is None
        case Delivery.Status.UNKNOWN:
            return delivery.unclear_since is not None
        case Delivery.Status.FAILED:
            # WeCom named all of them.
            return not delivery.receipts.exclude(status=Receipt.Status.INVALID).exists()
    return False


def stuck(*, now: datetime) -> list[str]:
    """What has not ended, in sentences."""
    runs = Run.objects.filter(status__in=[Run.Status.WAITING, Run.Status.SENDING]).order_by("pk")
    deliveries = Delivery.objects.unsettled().order_by("pk").defer("body")
    return [f"run {run.pk} is {run.status}, to be rendered {run.render_after - now} from now" for run in runs] + [
        f"delivery {each.pk} of corp {each.corp_id} is {each.status}, attempt {each.attempt_count}, due in "
        f"{each.next_attempt_at - now}, queued {each.queued_until}, lease {each.lease_until}, errcode {each.errcode}"
        for each in deliveries
    ]
