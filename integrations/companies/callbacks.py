"""Receives WeCom's callbacks: the check of an address, and events, each stored once.

Each corp has two addresses with keys of their own: the app's, and the one of the contacts assistant (通讯录同步).
Both answer while the corp is disabled: WeCom wants them before anything else is set up.
"""

from __future__ import annotations

import logging
import secrets
import string
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import redis
from django.db import transaction
from django.db.models.functions import Length
from django.urls import reverse

from integrations import callbacks
from integrations.clients.errors import UnreadableSecretError
from integrations.clients.wecom import callbacks as wire
from integrations.clients.wecom.callbacks import CallbackCrypto, CallbackError
from integrations.core.client_factory import CALLBACK_COLUMNS, callback_crypto
from integrations.core.redis import valkey
from integrations.models import CallbackEvent, Corp, SiteAddress

logger = logging.getLogger(__name__)

# The largest events have a few KB: a message's text ends at 2048 bytes.
BODY_BYTES_AT_MOST = 256 * 1024
# Events older than this are deleted. They are not taken in either, or one could be played back after its deletion.
EVENT_DAYS = 30
DELETED_AT_ONCE = 200
# What our own checks of an address ask to be echoed begins with this; WeCom asks for a number.
OWN_CHECK = b"guanwecom-own-check-"
TOKEN_CHARACTERS = 32
AES_KEY_CHARACTERS = 43
_LETTERS = string.ascii_letters + string.digits
_VIEWS = {CallbackEvent.Kind.APP: "wecom-events", CallbackEvent.Kind.CONTACTS: "wecom-contacts-events"}
_REFUSALS_KEPT = timedelta(days=2)
_REFUSALS_IN_ALL = "integrations:callback-refusals"
# In place of a corp's key: whoever called named a company that does not exist.
NO_CORP = 0


@dataclass(frozen=True, slots=True)
class Signed:
    """What stands in the query of every call."""

    signature: str
    timestamp: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Address:
    """One callback address, as an administrator sees it."""

    kind: CallbackEvent.Kind
    url: str
    has_keys: bool
    verified_at: datetime | None
    # The address was changed after that: WeCom's console still has the former one.
    is_outdated: bool
    last_event_at: datetime | None
    refused_today: int


# --- The address, for the administrator -------------------------------------------------------------------------------


def generate_callback_keys(*, corp: Corp, kind: CallbackEvent.Kind) -> None:
    """Give an address a new Token and EncodingAESKey. From now on WeCom is refused until its console has them."""
    save_callback_keys(corp=corp, kind=kind, token=_random(TOKEN_CHARACTERS), aes_key=_random(AES_KEY_CHARACTERS))


def save_callback_keys(*, corp: Corp, kind: CallbackEvent.Kind, token: str, aes_key: str) -> None:
    """Store the pair that WeCom's console has. Whether they fit shows when WeCom checks the address."""
    columns = CALLBACK_COLUMNS[kind]
    values = {columns.token: token, columns.aes_key: aes_key, columns.verified_at: None}
    Corp.objects.filter(pk=corp.pk).update(**values)
    corp.refresh_from_db(fields=list(values))


def have_keys(*, corp: Corp, kind: CallbackEvent.Kind) -> bool:
    """Whether an address has keys now. Told by their length, without decrypting them."""
    columns = CALLBACK_COLUMNS[kind]
    return all(Corp.objects.filter(pk=corp.pk).values_list(Length(columns.token), Length(columns.aes_key)).get())


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def callback_url(corp: Corp, kind: CallbackEvent.Kind) -> str:
    """What WeCom's console takes as URL."""
    return corp.find_site_address().absolute(reverse(_VIEWS[kind], args=[corp.pk]))


def addresses(corp: Corp, *, now: datetime) -> list[Address]:
    """Both addresses of a corp, the app's first. No key is read."""
    return [_address(corp, kind, corp.find_site_address(), now) for kind in CallbackEvent.Kind]


def _address(corp: Corp, kind: CallbackEvent.Kind, site: SiteAddress, now: datetime) -> Address:
    columns = CALLBACK_COLUMNS[kind]
    newest = CallbackEvent.objects.filter(corp=corp, kind=kind).order_by("-received_at")
    verified_at: datetime | None = getattr(corp, columns.verified_at)
    return Address(
        kind=kind,
        url=callback_url(corp, kind),
        has_keys=have_keys(corp=corp, kind=kind),
        verified_at=verified_at,
        is_outdated=verified_at is not None and verified_at < site.changed_at,
        last_event_at=newest.values_list("received_at", flat=True).first(),
        refused_today=refused_count(corp_id=corp.pk, kind=kind, now=now),
    )


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """A check of a callback address as WeCom makes it, but by us: where to ask, and the right answer."""

    url: str
    answer: bytes


def own_check(crypto: CallbackCrypto, *, url: str, now: datetime) -> OwnCheck:
    """A signed question for `url`. Whoever answers it holds the keys, and got the query as it was sent."""
    answer = OWN_CHECK + _random(16).encode()
    sealed = crypto.encrypt(answer, timestamp=str(int(now.timestamp())), nonce=_random(16))
    query = {"msg_signature": sealed.signature, "timestamp": sealed.timestamp, "nonce": sealed.nonce}
    return OwnCheck(f"{url}?{urlencode({**query, 'echostr': sealed.encrypted})}", answer)


# --- WeCom's calls ----------------------------------------------------------------------------------------------------


def verify_address(*, corp_id: int, kind: CallbackEvent.Kind, signed: Signed, echostr: str, now: datetime) -> bytes:
    """WeCom's check of the address: the answer to give, as it is and within a second. Raises CallbackError."""
    corp, crypto = _addressee(corp_id, kind)
    answer = wire.verify_url(
        crypto, signature=signed.signature, timestamp=signed.timestamp, nonce=signed.nonce, echostr=echostr
    )
    if answer.startswith(OWN_CHECK):  # of ours: it says nothing of WeCom's console
        return answer
    Corp.objects.filter(pk=corp.pk).update(**{CALLBACK_COLUMNS[kind].verified_at: now})
    return answer


def receive(*, corp_id: int, kind: CallbackEvent.Kind, signed: Signed, body: bytes, now: datetime) -> list[str]:
    """Store what was posted, with the work that it means. Returns the consumers that may begin
    (integrations.callbacks): none for what is known already, or too old. Raises CallbackError.

    WeCom waits 5 seconds and delivers three times at most; nothing but the storing is done here.
    """
    corp, crypto = _addressee(corp_id, kind)
    plaintext = _opened(corp, crypto, signed, body)
    callback = wire.parse(plaintext)
    _check_addressee(corp, kind, callback)
    happened_at = _moment(callback.created_at)
    if happened_at < now - timedelta(days=EVENT_DAYS):
        logger.warning("callback too old corp=%s kind=%s event=%s", corp.pk, kind, callback.kind[:64])
        return []
    with transaction.atomic():
        event, is_new = CallbackEvent.objects.get_or_create(
            corp=corp,
            kind=kind,
            key=callback.dedupe_key,
            defaults={
                "event": callback.kind[:64],
                "is_event": callback.is_event,
                "change": callback.change[:64],
                "userid": callback.userid[:128],
                "happened_at": happened_at,
                "received_at": now,
                "body": _text(plaintext),
            },
        )
        beginning = callbacks.add_work(event) if is_new else []
    if is_new:
        _delete_old_events(corp, kind, now)
    return beginning


def _addressee(corp_id: int, kind: CallbackEvent.Kind) -> tuple[Corp, CallbackCrypto]:
    columns = CALLBACK_COLUMNS[kind]
    corp = Corp.objects.only("corpid", "agentid", columns.token, columns.aes_key).filter(pk=corp_id).first()
    if corp is None:
        raise CallbackError("there is no such corp")
    try:
        crypto = callback_crypto(corp, kind)
    except UnreadableSecretError:
        raise CallbackError("the address's keys cannot be read with the present encryption keys") from None
    if crypto is None:
        raise CallbackError("the address has no keys yet")
    return corp, crypto


def _opened(corp: Corp, crypto: CallbackCrypto, signed: Signed, body: bytes) -> bytes:
    envelope = wire.read_envelope(body)
    if envelope.receiver != corp.corpid:
        raise CallbackError("the envelope is for another company")
    return crypto.decrypt(
        envelope.encrypted, signature=signed.signature, timestamp=signed.timestamp, nonce=signed.nonce
    )


def _check_addressee(corp: Corp, kind: CallbackEvent.Kind, callback: wire.Callback) -> None:
    """Two apps that were given the same keys by hand still must not get each other's events."""
    if callback.corpid != corp.corpid:
        raise CallbackError("the event is of another company")
    if kind == CallbackEvent.Kind.APP and callback.agentid not in {None, corp.agentid}:
        raise CallbackError("the event is of another app")


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise CallbackError("CreateTime is not a time") from None


def _text(plaintext: bytes) -> str:
    try:
        return plaintext.decode()
    except UnicodeDecodeError:
        raise CallbackError("the event is not UTF-8") from None


def _delete_old_events(corp: Corp, kind: CallbackEvent.Kind, now: datetime) -> None:
    """A few at a time, so that the one who stores an event need not wait for it."""
    old = CallbackEvent.objects.filter(corp=corp, kind=kind, received_at__lt=now - timedelta(days=EVENT_DAYS))
    keys = list(old.order_by("received_at").values_list("pk", flat=True)[:DELETED_AT_ONCE])
    if keys:
        CallbackEvent.objects.filter(pk__in=keys).delete()


# --- Refusals ---------------------------------------------------------------------------------------------------------


def note_refusal(*, corp_id: int, kind: CallbackEvent.Kind, reason: str, now: datetime) -> None:
    """Log and count a call that was refused. `reason`: of a CallbackError, without content of the call."""
    logger.warning("callback refused corp=%s kind=%s reason=%s", corp_id, kind, reason)
    if not Corp.objects.filter(pk=corp_id).exists():  # invented ones must not fill the store
        corp_id = NO_CORP
    key = _refusals_key(corp_id, kind, now)
    with suppress(redis.RedisError), valkey().pipeline() as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, _REFUSALS_KEPT)
        pipeline.hincrby(_REFUSALS_IN_ALL, f"{corp_id}:{kind.value}", 1)
        pipeline.execute()


def refused_count(*, corp_id: int, kind: CallbackEvent.Kind, now: datetime) -> int:
    """How many calls were refused on this day (UTC); 0 without Valkey. NO_CORP: those for companies that are none."""
    with suppress(redis.RedisError):
        return int(valkey().get(_refusals_key(corp_id, kind, now)) or 0)
    return 0


def refused_in_all() -> dict[tuple[int, str], int]:
    """How many calls were ever refused, by corp (NO_CORP: of none) and address: for a metric. Empty without Valkey."""
    with suppress(redis.RedisError):
        counts: dict[bytes, bytes] = valkey().hgetall(_REFUSALS_IN_ALL)  # type: ignore[assignment]  # not awaited
        named = ((name.decode().split(":"), int(count)) for name, count in counts.items())
        return {(int(corp_id), kind): count for (corp_id, kind), count in named}
    return {}


def _refusals_key(corp_id: int, kind: CallbackEvent.Kind, now: datetime) -> str:
    return f"integrations:callback-refusals:{corp_id}:{kind.value}:{now.astimezone(UTC):%Y-%m-%d}"
