"""Updates alert cards on all phones after a click or a recovery.

WeCom lets a card be changed with a code that works once, within 72 hours. One code comes with the message, another with
each click. A card without codes stays as it is; its page shows the current state.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import translation

from integrations.clients.errors import ConfigurationError, IntegrationError, RateLimitedError, TransientError
from integrations.clients.wecom import builders
from integrations.core import client_factory
from integrations.core.background import log_errors
from integrations.models.jobs import Moment
from notifications.alerts import notices
from notifications.delivery.channels import make_address_scope, make_company_scope, make_error_outcome
from notifications.delivery.limiter import Permit, Request
from notifications.delivery.rows import update_unlocked
from notifications.delivery.sending.queue import take_probes, unblock_companies
from notifications.delivery.sending.send import ask_permits, hold_scopes, release_permits
from notifications.models import AlertCard, CorpQueue, Delivery
from notifications.models.alerts import CODE_CHARACTERS

if TYPE_CHECKING:
    from integrations.core.background import Clock

logger = logging.getLogger(__name__)

# A call takes less time. After the lease another worker may take over the card of a worker that died.
LEASE = timedelta(seconds=60)
# The wait after a failed try, doubled with each further one.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=15)
DOUBLINGS_AT_MOST = 8
TRIES_AT_MOST = 40
HANDED_OUT_AT_ONCE = 500
# WeCom counts the calls of each API separately.
UPDATE_API = "message_update_template_card"


class _CompanyWaitsError(Exception):
    """Raised if the company's cards cannot be changed for `seconds`. They wait, and their codes stay unused."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def find_changeable_cards(now: Moment) -> QuerySet[AlertCard]:
    """Return the cards whose next change may be tried. Cards of a blocked company wait until it works again or is to be
    tried again with one card."""
    blocked = CorpQueue.objects.blocked().filter(probe_at__gt=now, corp=OuterRef("delivery__corp"))
    return _find_stale_cards(now).exclude(Exists(blocked))


def claim_due_cards(*, now: datetime) -> list[int]:
    """Claim the cards to change now and return their ids. Nobody else gets them until their lease ends."""
    ids = list(find_changeable_cards(now).order_by("next_try_at").values_list("pk", flat=True)[:HANDED_OUT_AT_ONCE])
    # The update has no conditions on other tables: after waiting for a lock PostgreSQL does not check these again.
    return [pk for pk in ids if _find_stale_cards(now).filter(pk=pk).update(next_try_at=now + LEASE) == 1]


@transaction.atomic
def store_code(delivery: Delivery, code: str, *, now: datetime) -> bool:
    """Store a code that came with a message or a click. Return False if there is none or it is stored already, because
    the event was replayed. Locks the card until the end of the transaction. A transaction that also locks incidents
    must lock them first, as the callers of `mark_stale` do."""
    if not code or len(code) > CODE_CHARACTERS:
        return False
    AlertCard.objects.get_or_create(delivery=delivery, defaults={"is_stale": False, "next_try_at": now})
    card = AlertCard.objects.select_for_update().get(delivery=delivery)
    if any(one["code"] == code for one in card.codes):
        return False
    card.codes = [*card.codes, {"code": code, "received_at": now.isoformat(), "used_at": None}]
    card.save(update_fields=["codes"])
    return True


def update_cards(card_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> int:
    """Change each card to the current state. Return how many were changed. No transaction is open during a call. After
    a failure of the whole company (refused IP, too many calls) its other cards are not tried."""
    rows = AlertCard.objects.filter(pk__in=list(card_ids)).order_by("next_try_at", "pk")
    corp_of = dict(rows.values_list("pk", "delivery__corp"))
    probes = take_probes(set(corp_of.values()), now=clock())
    count, waiting_corps = 0, {corp_id for corp_id, may_probe in probes.items() if not may_probe}
    for card_id, corp_id in corp_of.items():
        if is_stopping():
            break
        if corp_id in waiting_corps:
            continue
        try:
            with log_errors(logger, "card=%d could not be changed", card_id, unless=(_CompanyWaitsError,)):
                count += _update_card(card_id, clock)
        except _CompanyWaitsError as waits:
            waiting_corps.add(corp_id)
            # Cards that were claimed but not tried become due when the company's wait ends, not only after their lease.
            now = clock()
            until = now + timedelta(seconds=waits.seconds)
            untried = rows.filter(delivery__corp=corp_id, is_stale=True, next_try_at__lte=now + LEASE)
            untried.filter(next_try_at__gt=until).update(next_try_at=until)
    return count


def _find_stale_cards(now: Moment) -> QuerySet[AlertCard]:
    return AlertCard.objects.filter(is_stale=True, next_try_at__lte=now)


def _update_card(card_id: int, clock: Clock) -> bool:
    """Update one card if needed and permitted by the limiter. Return True if it was updated, or its incidents are gone.
    Raise _CompanyWaitsError."""
    now = clock()
    # If the next try is further away than LEASE, another worker has postponed the card since it was claimed.
    claimed = AlertCard.objects.filter(pk=card_id, next_try_at__lte=now + LEASE)
    card = claimed.select_related("delivery__corp__site_address", "delivery__run").first()
    if card is None:
        return False
    delivery = card.delivery
    if delivery.status in {Delivery.Status.PENDING, Delivery.Status.SENDING}:
        # The message is not sent yet. A paused or blocked company must not use up the tries, so the count stops at the
        # longest wait.
        _postpone_card(card, now, try_count=min(card.try_count + 1, DOUBLINGS_AT_MOST))
        return False
    # The code that WeCom returned when the message was sent.
    is_known = any(one["code"] == delivery.response_code for one in card.codes)
    if delivery.status == Delivery.Status.ACCEPTED and not is_known:
        store_code(delivery, delivery.response_code, now=delivery.settled_at or now)
        card.refresh_from_db(fields=["codes"])
    notice = notices.read_notice(delivery.run, now=now, with_lock=False)
    if notice is None:
        _mark_current(card, "")
        return True
    if notices.make_digest(notice) == card.shown or not card.find_usable_codes(now):
        _give_up_change(card)
        return False
    scopes = (make_address_scope(delivery.corp, UPDATE_API), make_company_scope(delivery.corpid, UPDATE_API))
    [permit] = ask_permits([Request(f"card:{delivery.pk}.{secrets.token_hex(4)}", scopes, is_urgent=True)])
    if not isinstance(permit, Permit):  # the seconds after which to ask again
        raise _CompanyWaitsError(permit)
    try:
        return _send_change(card, clock)
    except (ConfigurationError, RateLimitedError) as error:
        # All cards of the company wait for as long as WeCom's answer says. This does not count as a try.
        outcome, now = make_error_outcome(error), clock()
        logger.info("corp=%d: changes of cards wait errcode=%s", delivery.corp_id, outcome.errcode)
        if outcome.is_rate_limited:
            hold_scopes([make_company_scope(delivery.corpid, UPDATE_API)], outcome)
        until = now + timedelta(seconds=outcome.wait_seconds)
        of_company = AlertCard.objects.filter(is_stale=True, next_try_at__lt=until, delivery__corp=delivery.corp_id)
        update_unlocked(of_company, next_try_at=until)
        if outcome.is_configuration:  # the company is still blocked
            CorpQueue.objects.blocked().filter(corp=delivery.corp_id).update(probe_at=until)
        raise _CompanyWaitsError(outcome.wait_seconds) from error
    finally:
        release_permits([permit])


def _send_change(card: AlertCard, clock: Clock) -> bool:
    """Change the card with one of its codes and return whether it was changed. Raise ConfigurationError and
    RateLimitedError, which concern all cards of the company; postpone the card after other errors."""
    delivery = card.delivery
    code = _use_code(card, clock())
    if code is None:
        _give_up_change(card)
        return False
    # The notice is read after the code was taken, to include changes made meanwhile: they may get no second code.
    notice = notices.read_notice(delivery.run, now=clock(), with_lock=False)
    if notice is None:
        _release_code(card, code)
        _mark_current(card, "")
        return True
    with translation.override(delivery.language or settings.LANGUAGE_CODE):
        url = delivery.corp.find_site_address().absolute(notices.make_page_path(notice.incidents, delivery.mark))
        content = notices.make_card(notice, url=url, mark=delivery.mark, has_buttons=True)
    digest = notices.make_digest(notice)
    update = builders.build_card_update(agentid=delivery.agentid, response_code=code, card=content)
    try:
        client_factory.wecom_client(delivery.corp).message_update_template_card(update)
    except (ConfigurationError, RateLimitedError):
        _release_code(card, code)
        raise
    except IntegrationError as error:
        # After an unknown outcome the code may be used, so it stays marked. The next try takes the next code, if any.
        is_temporary = isinstance(error, TransientError)
        if is_temporary:
            _release_code(card, code)
        level = logging.INFO if is_temporary else logging.WARNING
        logger.log(level, "card of delivery=%d not changed errcode=%s", delivery.pk, error.code)
        _postpone_card(card, clock(), try_count=card.try_count + 1)
        return False
    unblock_companies([delivery.corp_id], now=clock())
    _mark_current(card, digest)
    return True


@transaction.atomic
def _use_code(card: AlertCard, now: datetime) -> str | None:
    """Take an unused code and mark it as used before the call: a crash loses the code but never uses it twice. The
    newest code is taken first: a click's code shows the effect of the click, and the message's own code is left for the
    recovery."""
    locked = AlertCard.objects.select_for_update().filter(pk=card.pk).first()
    usable = [] if locked is None else locked.find_usable_codes(now)
    if locked is None or not usable:
        return None
    usable[0]["used_at"] = now.isoformat()
    locked.save(update_fields=["codes"])
    return str(usable[0]["code"])


@transaction.atomic
def _release_code(card: AlertCard, code: str) -> None:
    """Mark the code as unused again. Call it only if WeCom certainly did not accept the code."""
    locked = AlertCard.objects.select_for_update().filter(pk=card.pk).first()
    if locked is not None:
        locked.codes = [one | {"used_at": None} if one["code"] == code else one for one in locked.codes]
        locked.save(update_fields=["codes"])


def _mark_current(card: AlertCard, digest: str) -> None:
    """Store the digest of the card's new content and mark the card as up to date. It stays stale if `next_try_at`
    differs: it was marked stale meanwhile, or another worker took it over and this content may be outdated."""
    row = AlertCard.objects.filter(pk=card.pk)
    if not row.filter(next_try_at=card.next_try_at).update(is_stale=False, shown=digest):
        row.update(is_stale=True, shown=digest)


def _give_up_change(card: AlertCard) -> None:
    """Leave the card as it is: nothing changed, or there is no code. It stays stale if `next_try_at` differs: it was
    marked stale meanwhile, or another worker took it over."""
    AlertCard.objects.filter(pk=card.pk, next_try_at=card.next_try_at).update(is_stale=False)


def _postpone_card(card: AlertCard, now: datetime, *, try_count: int) -> None:
    """Try the card again later, unless somebody else postponed it. After TRIES_AT_MOST tries it stays as it is."""
    wait = min(FIRST_WAIT * (1 << min(card.try_count, DOUBLINGS_AT_MOST)), LONGEST_WAIT)
    claimed = AlertCard.objects.filter(pk=card.pk, next_try_at=card.next_try_at)
    claimed.update(next_try_at=now + wait, try_count=try_count, is_stale=try_count < TRIES_AT_MOST)
