"""Changes the cards on people's phones after a click or an end: for everybody who got them, and never twice.

WeCom lets a card be changed by a code that works once, for 72 hours: one comes with the message, another with each
click. A card whose codes are used up stays as it is; its page shows how things stand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import translation

from integrations import clients, links
from integrations.errors import IntegrationError, OutcomeUnknownError, TransientError
from integrations.wecom import messages
from notifications.alerts import cards, orders
from notifications.models import AlertCard, CardCode, Channel, Delivery, Incident, Run
from notifications.models.alerts import CODE_CHARACTERS, CODE_LIFETIME
from notifications.moments import Moment

if TYPE_CHECKING:
    from integrations.wecom.contents import Content
    from notifications.clock import Clock

logger = logging.getLogger(__name__)

# Longer than a call: a worker that died leaves the card to another.
LEASE = timedelta(seconds=60)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=15)
TRIES_AT_MOST = 40
HANDED_OUT_AT_ONCE = 500


def mark_stale(incidents: Sequence[Incident], *, now: datetime) -> None:
    """Note that the cards of these incidents show them as they were. In the transaction that changes them."""
    if not incidents:
        return
    runs = Run.objects.filter(incident_notices__incident__in=incidents)
    told = Delivery.objects.filter(run__in=runs.values("pk"), channel=Channel.WECOM, created_at__gt=now - CODE_LIFETIME)
    ids = list(told.order_by("pk").values_list("pk", flat=True))
    AlertCard.objects.bulk_create(
        (AlertCard(delivery_id=pk, next_try_at=now) for pk in ids), ignore_conflicts=True, batch_size=1000
    )
    AlertCard.objects.filter(delivery__in=ids).update(is_stale=True, next_try_at=now, try_count=0)


def stale(now: Moment) -> QuerySet[AlertCard]:
    """Cards whose next change may be tried."""
    return AlertCard.objects.filter(is_stale=True, next_try_at__lte=now)


def due(*, now: datetime) -> list[int]:
    """Ids of cards to change now; nobody else gets them until their lease is over."""
    ids = list(stale(now).order_by("next_try_at").values_list("pk", flat=True)[:HANDED_OUT_AT_ONCE])
    return [pk for pk in ids if _claim(pk, now)]


def keep_code(delivery: Delivery, code: str, *, now: datetime) -> bool:
    """Keep a code that came with a message or a click. False where it is known already: the event was played again."""
    if not code or len(code) > CODE_CHARACTERS:
        return False
    _code, is_new = CardCode.objects.get_or_create(code=code, defaults={"delivery": delivery, "received_at": now})
    return is_new


def update_cards(card_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Change each card to how things stand. Returns how many were changed. No transaction is open during a call."""
    count = 0
    for card_id in card_ids:
        if is_stopping():
            break
        try:
            count += _update(card_id, clock)
        except Exception:  # the edge of the loop: one bad card must not keep the others
            logger.exception("card=%d could not be changed", card_id)
    return count


def _claim(card_id: int, now: datetime) -> bool:
    return stale(now).filter(pk=card_id).update(next_try_at=now + LEASE) == 1


def _update(card_id: int, clock: Clock) -> bool:
    now = clock()
    card = AlertCard.objects.select_related("delivery__corp__site_address", "delivery__run").get(pk=card_id)
    delivery = card.delivery
    if delivery.status in {Delivery.Status.PENDING, Delivery.Status.SENDING}:
        _try_again(card, now)  # nobody has it yet: in a moment there is something to change
        return False
    if delivery.status == Delivery.Status.ACCEPTED:
        keep_code(delivery, delivery.response_code, now=delivery.settled_at or now)
    telling = orders.telling_of(delivery.run, now=now, is_locked=False)
    if telling is None:
        return _settle(card, "")
    digest = cards.digest_of(telling)
    code = None if digest == card.shown else _use_code(delivery, now)
    if code is None:
        return _settle(card, card.shown, is_changed=False)
    with translation.override(delivery.language or settings.LANGUAGE_CODE):
        address = links.site_address_for(delivery.corp)
        url = address.absolute(cards.page_path(telling.incidents, delivery.mark))
        content = cards.content(telling, url=url, mark=delivery.mark, has_buttons=True)
    return _call(card, code, content, digest, clock)


def _call(card: AlertCard, code: CardCode, content: Content, digest: str, clock: Clock) -> bool:
    delivery = card.delivery
    update = messages.card_update(agentid=delivery.agentid, response_code=code.code, is_for_all=True, card=content)
    try:
        clients.wecom_client(delivery.corp).message_update_template_card(update)
    except OutcomeUnknownError as error:
        # The code may be used up: the next one, if there is one, shows the same.
        logger.warning("card of delivery=%d: nobody knows whether it was changed (%s)", delivery.pk, error.code)
        _try_again(card, clock())
        return False
    except TransientError as error:
        CardCode.objects.filter(pk=code.pk).update(used_at=None)
        logger.info("card of delivery=%d not changed for the moment errcode=%s", delivery.pk, error.code)
        _try_again(card, clock())
        return False
    except IntegrationError as error:
        logger.warning("card of delivery=%d not changed errcode=%s", delivery.pk, error.code)
        _try_again(card, clock())
        return False
    return _settle(card, digest)


def _use_code(delivery: Delivery, now: datetime) -> CardCode | None:
    """A code that nobody has used, marked as used before the call: a crash in between loses it, and uses none twice.

    Why the newest first? That of the click is for the click; the message's own is kept for the end.
    """
    for code in CardCode.objects.usable(now).filter(delivery=delivery).order_by("-received_at", "-pk"):
        if CardCode.objects.filter(pk=code.pk, used_at__isnull=True).update(used_at=now):
            return code
    return None


def _settle(card: AlertCard, shown: str, *, is_changed: bool = True) -> bool:
    """Done, unless it was marked again meanwhile: then its try is due at once, not at the end of the lease."""
    mine = AlertCard.objects.filter(pk=card.pk)
    mine.update(shown=shown)
    mine.filter(next_try_at=card.next_try_at).update(is_stale=False)
    return is_changed


def _try_again(card: AlertCard, now: datetime) -> None:
    count = card.try_count + 1
    wait = min(FIRST_WAIT * (1 << min(card.try_count, 8)), LONGEST_WAIT)
    mine = AlertCard.objects.filter(Q(next_try_at=card.next_try_at), pk=card.pk)
    mine.update(next_try_at=now + wait, try_count=count, is_stale=count < TRIES_AT_MOST)
