"""Intake of the mail door, an SMTP server: checks sign-ins, makes messages of mails, and runs the server process."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import signal
import ssl
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import forkserver

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction
from django.db.models import QuerySet
from django.utils import translation

from integrations.core import heartbeats, installation
from integrations.core.background import database_clock
from integrations.models import Heartbeat
from notifications.inbound import calls
from notifications.inbound.accept import IncomingDraft, accept_message
from notifications.inbound.channels import make_digest
from notifications.inbound.content import InboundError
from notifications.inbound.mail import outgoing
from notifications.inbound.mail.parse import Forward, MailRules, UnreadableMailError, find_message_id
from notifications.inbound.mail.reader import MailReading, read_mail
from notifications.inbound.mail.server import Door, Limits, Network, ReceivedMail, RefusedError, SignIn
from notifications.inbound.recipients import Address, AddressKind
from notifications.models import InboundCall, InboundChannel, IncomingMessage, OutgoingMail
from notifications.models.inbound import TITLE_CHARACTERS

logger = logging.getLogger(__name__)

Outcome = InboundCall.Outcome
_TAKES_NO_MAILS = "550 5.7.1 This channel takes no mails"


@dataclass(frozen=True)
class Intake:
    """Backend of the SMTP server. `enqueue`: queues the runs after the commit."""

    enqueue: Callable[[list[int]], None]

    def sign_in(self, *, user: str, password: str, address: str) -> SignIn | None:
        """Return the sign-in for this user name and password; None if they are wrong. A domain behind the user name is
        ignored, because some senders sign in with an address."""
        public_id = user.partition("@")[0].strip()
        channel = _find_usable_channels().filter(public_id=public_id).first() if public_id.isprintable() else None
        sign_in = SignIn(channel.pk if channel is not None else 0, make_digest(password), address)
        return sign_in if _may_sign_in(channel, sign_in) else None

    def accept_mail(self, signed_in: SignIn, mail: ReceivedMail) -> str:
        """Write the mail as a message in one transaction. Return the SMTP answer. Raise RefusedError and
        django.db.Error."""
        if installation.is_copy():
            raise RefusedError("451 4.3.0 This is a copy of the installation: it takes no mails")
        channel = _find_usable_channels().filter(pk=signed_in.channel_id).first()
        if channel is None or not _may_sign_in(channel, signed_in):
            raise RefusedError(_TAKES_NO_MAILS)
        # A repeated mail has the same Message-ID or, without one, the same bytes.
        prefix = f"mail:{channel.pk}:{_hash_content(find_message_id(mail.content).encode() or mail.content)}:"
        key = prefix + _hash_content("\n".join(sorted(mail.recipients)).encode())
        known = IncomingMessage.objects.filter(key=key).values_list("pk", flat=True).first()
        now = database_clock()()
        if known is not None:
            calls.log_call(channel, Outcome.REPEATED, now=now)
            return f"250 2.0.0 Accepted as message {known}"
        with translation.override(settings.LANGUAGE_CODE):
            try:
                reading = read_mail(mail.content, MailRules.from_document(channel.mapping), channel.form)
                with transaction.atomic():
                    message, run_ids = _write_message(channel, mail, reading, prefix=prefix, key=key, now=now)
            except InboundError as error:
                if error.code != "daily_limit_reached":
                    raise
                calls.log_call(channel, Outcome.REFUSED, error.sentence, now=now)
                raise RefusedError("452 4.2.2 The channel's daily limit is used up, send again tomorrow") from error
            except UnreadableMailError as error:
                raise RefusedError(f"554 5.6.0 The mail cannot be read: {error}") from error
        if run_ids:
            self.enqueue(run_ids)
        return "250 2.0.0 Accepted" if message is None else f"250 2.0.0 Accepted as message {message.pk}"


def _find_usable_channels() -> QuerySet[InboundChannel]:
    """Return the enabled mail channels whose owners may send messages."""
    usable = InboundChannel.objects.usable().select_related("owner", "corp")
    return usable.filter(kind=InboundChannel.Kind.MAIL, is_enabled=True)


def _may_sign_in(channel: InboundChannel | None, sign_in: SignIn) -> bool:
    """Return whether password and address are right. The digests are compared even if there is no such channel, so that
    the duration does not reveal whether one exists."""
    digest = channel.digest if channel is not None else ""
    is_right = hmac.compare_digest(sign_in.proof, digest or "-" * 64)
    if channel is None or not is_right:
        return False
    networks = [ipaddress.ip_network(network) for network in MailRules.from_document(channel.mapping).networks]
    return not networks or any(ipaddress.ip_address(sign_in.address) in network for network in networks)


def _write_message(
    channel: InboundChannel, mail: ReceivedMail, reading: MailReading, *, prefix: str, key: str, now: datetime
) -> tuple[IncomingMessage | None, list[int]]:
    """Write the message, and the mails that answer or forward it. Raise InboundError. Return the message and, if it is
    new, its runs. The message is None if no address names anybody or everybody has the mail already."""
    addresses: dict[Address, str] = {}
    for recipient in mail.recipients:
        # The address names an account if its domain is one of the door's, else the person who has this mail address.
        account, _at, domain = recipient.rpartition("@")
        address = Address(AddressKind.EMAIL, recipient)
        if domain.lower() in settings.MAIL_DOOR_DOMAINS:
            address = Address(AddressKind.ACCOUNT, account.strip('"').replace("\\", ""))
        addresses[address] = recipient
    # `accept_message` runs this query after it has locked the channel. So of two mails with one Message-ID that arrive
    # at the same moment, the second finds the people whom the first reached.
    pairs = IncomingMessage.people.through.objects  # of a message and a person
    already_sent_to = pairs.filter(incomingmessage__key__startswith=prefix).values_list("user_id", flat=True)
    draft = reading.message
    draft.origin, draft.key, draft.form, draft.corp = IncomingMessage.Origin.MAIL, key, channel.form, channel.corp
    draft.priority, draft.lifetime_hours = channel.priority, channel.lifetime_hours
    draft.original, draft.page = zlib.compress(mail.content, 1), zlib.compress(reading.page.encode(), 1)
    message, run_ids = None, list[int]()
    incoming = IncomingDraft(channel, draft, list(addresses), reading.files, already_sent_to)
    try:
        accepted = accept_message(incoming, now=now)
    except InboundError as error:
        if error.code != "nobody_found":
            raise
        unknown = [addresses[address] for address, _problem in error.unknown]
        # Either no address names anybody, or everybody has the mail already.
        outcome, reason = (Outcome.REFUSED, error.sentence) if unknown else (Outcome.REPEATED, None)
        calls.log_call(channel, outcome, reason, now=now)
    else:
        message, run_ids = accepted.message, accepted.run_ids
        documents = [{name: text for name, text in one.items() if name != "reason"} for one in message.unknown]
        unknown = [text for address, text in addresses.items() if address.to_document() in documents]
        outcome, message_id = (Outcome.ACCEPTED, message.pk) if run_ids else (Outcome.REPEATED, None)
        calls.log_call(channel, outcome, message_id=message_id, now=now)
    rules = MailRules.from_document(channel.mapping)
    # Automatic mails get no answer, so that no two systems write to each other.
    is_told = rules.tells_sender and not reading.is_automatic and rules.may_mail(mail.sender)
    wanted: dict[str, Sequence[str]] = {Forward.UNKNOWN: unknown, Forward.EVERYBODY: mail.recipients}
    forwarded = () if reading.is_forwarded_by_us else filter(rules.may_mail, wanted.get(rules.forward, ()))
    outgoing.write_mails(
        OutgoingMail(
            channel=channel,
            message=message,
            subject=draft.title[:TITLE_CHARACTERS],  # `accept_message` shortens titles of new messages only
            unknown=unknown,
            original=draft.original,
            page=draft.page,
        ),
        prefix=prefix,
        sender=mail.sender if is_told and (message is not None or unknown) else "",
        forwarded=list(dict.fromkeys(forwarded)),
        now=now,
    )
    return message, run_ids


def _hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


# Limit of a mail as sent: attachments grow by a third, and one of 20 MB must fit.
SIZE_BYTES = 30_000_000
_THIS_MACHINE: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


async def serve_door(
    enqueue: Callable[[list[int]], None], host: str, port: int, *, on_ready: Callable[[int], None]
) -> None:
    """Take mails until SIGTERM or SIGINT, then store and answer those under way. Raise ImproperlyConfigured if
    certificate and key cannot be read or do not match, and OSError if the port is not free. `on_ready`: called with the
    port once the door listens."""
    tls = None
    if settings.MAIL_DOOR_CERTIFICATE:
        try:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(settings.MAIL_DOOR_CERTIFICATE, settings.MAIL_DOOR_KEY or None)
        except OSError as error:
            problem = f"MAIL_DOOR_CERTIFICATE or MAIL_DOOR_KEY cannot be used: {error.strerror or error}"
            raise ImproperlyConfigured(problem) from None
    networks = tuple(settings.MAIL_DOOR_NETWORKS)
    limits = Limits(
        size_bytes=SIZE_BYTES,
        connections=100,
        connections_per_address=20,
        timeout_seconds=300,
        networks=networks,
        plain_networks=networks if settings.MAIL_DOOR_PLAIN_SIGN_IN else _THIS_MACHINE,
    )
    is_tls_from_start = settings.MAIL_DOOR_TLS_FROM_START
    door = Door(Intake(enqueue), limits, name="guanwecom", tls=tls, is_tls_from_start=is_tls_from_start)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    forkserver.ensure_running()  # loading the product takes a second, which the first mail should not wait for
    server = await door.listen(host, port)
    on_ready(server.sockets[0].getsockname()[1])
    name = heartbeats.build_process_name()
    while not stopping.is_set():
        await _write_heartbeat(door, lambda: heartbeats.write_heartbeat(kind=Heartbeat.Kind.MAIL, name=name))
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), heartbeats.HEARTBEAT_SECONDS)
    await _write_heartbeat(door, lambda: heartbeats.delete_heartbeat(kind=Heartbeat.Kind.MAIL, name=name))
    await door.stop(server)


async def _write_heartbeat(door: Door, write: Callable[[], None]) -> None:
    """Write the heartbeat. A database outage does not end the process: senders are asked to try again."""
    try:
        await door.run_in_thread(write)
    except Error as error:
        logger.warning("no heartbeat can be written: %s", type(error).__name__)
