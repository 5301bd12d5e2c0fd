"""The mail door as a process: listens until it is asked to end, and writes its heartbeat."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver

from django.conf import settings
from django.db import Error

from integrations.core import heartbeats
from integrations.models import Heartbeat
from notifications.inbound.mail.intake import Intake
from notifications.inbound.mail.server import Door, Limits, Network

logger = logging.getLogger(__name__)

MEGABYTE = 1_000_000
_THIS_MACHINE: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def door_of_settings(enqueue: Callable[[list[int]], None]) -> Door:
    """Raises OSError where certificate and key cannot be read, or do not fit."""
    networks = tuple(settings.MAIL_DOOR_NETWORKS)
    limits = Limits(
        size_bytes=settings.MAIL_DOOR_SIZE_MB * MEGABYTE,
        connections=settings.MAIL_DOOR_CONNECTIONS,
        connections_per_address=settings.MAIL_DOOR_CONNECTIONS_PER_ADDRESS,
        mails_per_minute=settings.MAIL_DOOR_MAILS_PER_MINUTE,
        timeout_seconds=settings.MAIL_DOOR_TIMEOUT_SECONDS,
        networks=networks,
        plain_networks=networks if settings.MAIL_DOOR_PLAIN_SIGN_IN else _THIS_MACHINE,
    )
    return Door(
        Intake(enqueue),
        limits,
        name=settings.MAIL_DOOR_NAME,
        tls=_tls(),
        is_tls_from_start=settings.MAIL_DOOR_TLS_FROM_START,
    )


def _tls() -> ssl.SSLContext | None:
    if not settings.MAIL_DOOR_CERTIFICATE:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.MAIL_DOOR_CERTIFICATE, settings.MAIL_DOOR_KEY or None)
    return context


async def serve(door: Door, host: str, port: int, *, on_ready: Callable[[int], None]) -> None:
    """Take mails until SIGTERM or SIGINT; then those under way are stored and answered. `on_ready`: called with the
    port once it listens. Raises OSError where it cannot."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    forkserver.ensure_running()  # it needs a second to load the product, for which the first mail should not wait
    server = await door.listen(host, port)
    on_ready(server.sockets[0].getsockname()[1])
    name = heartbeats.process_name()
    while not stopping.is_set():
        await _heart(door, lambda: heartbeats.beat(kind=Heartbeat.Kind.MAIL, name=name))
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), heartbeats.HEARTBEAT_SECONDS)
    await _heart(door, lambda: heartbeats.end(kind=Heartbeat.Kind.MAIL, name=name))
    await door.stop(server)


async def _heart(door: Door, write: Callable[[], None]) -> None:
    """A database that is away ends nothing: senders are asked to come again."""
    try:
        await door.in_thread(write)
    except Error as error:
        logger.warning("no heartbeat can be written: %s", type(error).__name__)
