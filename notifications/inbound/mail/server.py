"""SMTP server of the mail door: who may connect, the limits, and the answer to each command.

The backend checks sign-ins and stores mails; this module does not deal with messages. Answers are short English,
like those of other mail servers; the sender's administrator reads them in the sender's log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from django.db import Error, close_old_connections

from integrations.core.metrics import CountedMetric

# aiosmtpd's name for the sender of a bounce (RFC 5321, 4.5.5).
NULL_SENDER = "<>"
# Counted by the server, shown by web processes.
MAILS = CountedMetric("guanwecom_mail_door_mails", "Mails of channels, by the answer's code", "code")


class RefusedError(Exception):
    """The mail is refused. `answer`: with its SMTP code, 4xx if the same mail may be taken later."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """A mail as it came. `sender`, `recipients`: of the envelope; the sender of a bounce is NULL_SENDER."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class SignIn:
    """The channel that signed in. `proof`: a digest of the password, for the backend; `address`: an IP address."""

    channel_id: int
    proof: str = field(repr=False)
    address: str


class Backend(Protocol):
    """Backend of the server, called in threads. Both methods may raise django.db.Error; then the sender is asked to try
    again."""

    def sign_in(self, *, user: str, password: str, address: str) -> SignIn | None:
        """Return the sign-in; None if user, password or address are wrong."""

    def accept_mail(self, signed_in: SignIn, mail: ReceivedMail) -> str:
        """Store a mail if the channel may still sign in. Return an answer with 250 after the commit. Raise
        RefusedError."""


logger = logging.getLogger(__name__)

T = TypeVar("T")
# RFC 5321, 4.5.3.1.8 asks for 100 at least.
RECIPIENTS_AT_MOST = 1000
ADDRESS_CHARACTERS = 320
SIGN_INS_PER_CONNECTION = 3
# All connections together may hold this many mails of the size limit that are not stored yet.
HELD_MAILS = 8
# Seconds that a mail under way may take once the process is asked to end.
STOP_SECONDS = 30
CHUNK = 65_536
_END = b"\r\n.\r\n"
_LATER = "451 4.3.0 Not stored, please send again later"
_STOPPING = "421 4.3.2 Service shutting down, please send again"
_TOO_MANY = "421 4.7.0 Too many connections, please try again later"
_NOT_SIGNED_IN = "421 4.4.2 Nobody signed in, connection closed"
_OVER = "421 4.4.2 The session lasted too long, please connect again"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Limits:
    """Limits of the server. `networks`: from where one may connect. `plain_networks`: from where passwords may come
    without TLS. `wrong_password_seconds`: delay of the answer. `sign_in_seconds`, `session_seconds`: time from the
    connection to the sign-in, and to the end; commands do not extend them."""

    size_bytes: int
    connections: int
    connections_per_address: int
    timeout_seconds: float
    networks: Sequence[Network]
    plain_networks: Sequence[Network]
    threads: int = 4
    wrong_password_seconds: float = 1.0
    sign_in_seconds: float = 30.0
    session_seconds: float = 3600.0


@dataclass
class Door:
    """A listening server, and the state that its connections share."""

    backend: Backend
    limits: Limits
    name: str = "guanwecom"
    tls: ssl.SSLContext | None = None
    is_tls_from_start: bool = False
    is_stopping: bool = False
    held_bytes: int = 0
    connections: set[Connection] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.limits.threads, thread_name_prefix="mail")
        # Senders do not wait for each other: sign-ins have their own thread, and no channel may use all threads.
        self._sign_in_thread = ThreadPoolExecutor(1, thread_name_prefix="sign-in")
        self._turns = defaultdict[int, asyncio.Semaphore](lambda: asyncio.Semaphore(max(1, self.limits.threads // 2)))

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Listen on the port. Several processes may share it: the system spreads connections over them."""
        loop = asyncio.get_running_loop()
        tls = self.tls if self.is_tls_from_start else None
        return await loop.create_server(
            lambda: Connection(self, loop),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=self.limits.sign_in_seconds if tls else None,
            reuse_port=True,
        )

    async def run_in_thread(self, work: Callable[[], T], threads: ThreadPoolExecutor | None = None) -> T:
        """Run `work` in one of `threads`, by default in the thread of the sign-ins. It gets a working database
        connection, as Django's requests do."""

        def run() -> T:
            close_old_connections()
            try:
                return work()
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(threads or self._sign_in_thread, run)

    async def store(self, signed_in: SignIn, mail: ReceivedMail) -> str:
        """Hand a mail to the backend when it is its channel's turn."""
        async with self._turns[signed_in.channel_id]:
            return await self.run_in_thread(lambda: self.backend.accept_mail(signed_in, mail), self._threads)

    async def stop(self, server: asyncio.Server) -> None:
        """Refuse new connections, store and answer mails under way, and end."""
        self.is_stopping = True
        server.close()
        for connection in tuple(self.connections):
            connection.end_if_idle()
        until = time.monotonic() + STOP_SECONDS
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.05)
        for connection in tuple(self.connections):
            connection.abort()
        for threads in (self._threads, self._sign_in_thread):
            await asyncio.to_thread(threads.shutdown)


def _is_in_networks(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parse_address(address)
    return any(parsed in network for network in networks)


def _parse_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse the address. A server on `[::]` sees IPv4 callers as IPv6 addresses, which are mapped back."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


class Connection(SMTP):
    """SMTP session. Unlike aiosmtpd's own it takes lines of any length and holds no more than its limits."""

    # For aiosmtpd's reader, which waits while twice as much is unread.
    line_length_limit = CHUNK
    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        self.door = door
        self.address = ""
        self.began = loop.time()
        self.signed_in: SignIn | None = None
        self._is_receiving = self.is_over = False
        self._refusal: str | None = None
        self._deadlines: list[asyncio.TimerHandle] = []
        super().__init__(
            _Commands(door),
            data_size_limit=door.limits.size_bytes,
            enable_SMTPUTF8=True,
            hostname=door.name,
            ident="mail door",
            tls_context=None if door.is_tls_from_start else door.tls,
            timeout=door.limits.timeout_seconds,
            auth_required=True,
            # Accepted for now; _Commands.handle_AUTH checks them, which may wait for the database.
            authenticator=lambda _server, _session, _envelope, _mechanism, credentials: AuthResult(
                success=True, auth_data=credentials
            ),
            loop=loop,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up the connection, or reset it after STARTTLS, which forgets the sign-in."""
        if not self.address:
            self.address = str((transport.get_extra_info("peername") or ("::",))[0])
            door, limits = self.door, self.door.limits
            same_address = [other for other in door.connections if other.address == self.address]
            not_signed_in = [other for other in door.connections if other.signed_in is None]
            if door.is_stopping:
                self._refusal = _STOPPING
            elif not _is_in_networks(self.address, limits.networks):
                self._refusal = "554 5.7.1 Connections from your network are not allowed"
            elif len(same_address) >= limits.connections_per_address:
                self._refusal = "421 4.7.0 Too many connections from your address, please try again later"
            elif len(door.connections) >= limits.connections and not not_signed_in:
                self._refusal = _TOO_MANY
            elif len(door.connections) >= limits.connections:  # close the oldest one without a sign-in
                longest = min(not_signed_in, key=lambda other: other.began)
                longest.end_if_idle(_TOO_MANY)
                door.connections.discard(longest)
            door.connections.add(self)
            is_plain = _is_in_networks(self.address, limits.plain_networks)
            self._auth_require_tls = not (is_plain or door.is_tls_from_start)
            self._deadlines = [
                self.loop.call_later(limits.sign_in_seconds, self._end_overdue, _NOT_SIGNED_IN),
                self.loop.call_later(limits.session_seconds, self._end_overdue, _OVER),
            ]
        self.signed_in = None
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.door.connections.discard(self)
        for deadline in self._deadlines:
            deadline.cancel()
        super().connection_lost(error)

    def _end_overdue(self, answer: str) -> None:
        """End the session: after its longest time (_OVER), or because nobody has signed in (_NOT_SIGNED_IN)."""
        if answer == _OVER:
            self.is_over = True
        elif self.signed_in is not None:
            return
        self.end_if_idle(answer)

    def end_if_idle(self, answer: str = _STOPPING) -> None:
        """Send the answer and close the connection, unless a mail is under way."""
        if not self._is_receiving and self.transport is not None and not self.transport.is_closing():
            self._writer.write(f"{answer}\r\n".encode())
            self.transport.close()

    def abort(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def _handle_client(self) -> None:
        if self._refusal is None:
            await super()._handle_client()
        elif self.transport is not None:
            await self.push(self._refusal)
            self.transport.close()

    async def smtp_DATA(self, arg: str) -> None:  # aiosmtpd's name
        """Receive a mail and answer once it is stored."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        if self.signed_in is None or self.envelope is None or not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Error: need RCPT command")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        self._is_receiving = True
        content = bytearray()
        try:
            answer = await self._receive(content)
            if answer is None:
                # `content` begins with the line end before the mail and ends with the dot after it.
                mail_bytes = bytes(content[2 : -len(_END) + 2]).replace(b"\r\n.", b"\r\n").removeprefix(b".")
                envelope = self.envelope or Envelope()
                recipients = tuple(map(str, envelope.rcpt_tos))
                mail = ReceivedMail(envelope.mail_from or NULL_SENDER, recipients, mail_bytes)
                channel_id, began = self.signed_in.channel_id, time.monotonic()
                try:
                    answer = await self.door.store(self.signed_in, mail)
                except RefusedError as refused:
                    answer = refused.answer
                except Error as error:
                    logger.error("channel=%d: a mail could not be stored: %s", channel_id, type(error).__name__)
                    answer = _LATER
                milliseconds = round(1000 * (time.monotonic() - began))
                MAILS.add(answer[:3])
                line = "channel=%d recipients=%d bytes=%d ms=%d: %s"
                logger.info(line, channel_id, len(mail.recipients), len(mail_bytes), milliseconds, answer[:3])
        finally:
            self._is_receiving = False
            self.door.held_bytes -= len(content)
        self.envelope = self._create_envelope()
        await self.push(answer)
        if self.door.is_stopping or self.is_over:
            self.end_if_idle(_STOPPING if self.door.is_stopping else _OVER)

    async def _receive(self, content: bytearray) -> str | None:
        """Fill `content` with the mail as sent, with doubled dots, and count its bytes in the door. Return the answer
        that refuses it, or None. A refused mail is read to its end, too: the sender listens only then (RFC 5321,
        4.2.5)."""
        # The end is a dot on a line of its own, which may be the first line. So a line end is put before all that came,
        # some of it perhaps in one segment with the command. asyncio offers no other way to put bytes back.
        self._reader._buffer[:0] = b"\r\n"  # type: ignore[attr-defined]  # not in typeshed, there since Python 3.4
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        refusal: str | None = None
        is_whole = False
        while not is_whole:
            try:
                chunk = await self._reader.readuntil(_END)
                is_whole = True
            except asyncio.LimitOverrunError as overrun:
                chunk = await self._reader.readexactly(overrun.consumed)
            if refusal is None and len(content) + len(chunk) > self.door.limits.size_bytes + 2 * len(_END):
                refusal = "552 5.3.4 The mail is larger than the maximum size"
            elif refusal is None and self.door.held_bytes + len(chunk) > HELD_MAILS * self.door.limits.size_bytes:
                refusal = "452 4.3.1 Too many large mails at once, please send again later"
            if refusal is None:
                self.door.held_bytes += len(chunk)
                content += chunk
        self._reset_timeout()
        return refusal


class _Commands:
    """Handlers that aiosmtpd calls."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._wrong_count = 0

    async def handle_AUTH(  # aiosmtpd's name
        self, server: Connection, session: Session, envelope: Envelope, args: list[str]
    ) -> str | None:
        method = server.auth_PLAIN if args[0] == "PLAIN" else server.auth_LOGIN
        result = await method(server, args)
        if not result.success or not isinstance(result.auth_data, LoginPassword):
            return None
        user, password = (word.decode("utf-8", "replace") for word in result.auth_data)
        address = str(_parse_address(server.address))
        try:
            sign_in = self._door.backend.sign_in
            signed_in = await self._door.run_in_thread(lambda: sign_in(user=user, password=password, address=address))
        except Error as error:
            logger.error("nobody can sign in: %s", type(error).__name__)
            return "454 4.7.0 Temporary authentication failure"
        if signed_in is not None:
            server.signed_in, session.authenticated = signed_in, True
            return "235 2.7.0 Authentication successful"
        await asyncio.sleep(self._door.limits.wrong_password_seconds)
        self._wrong_count += 1
        logger.warning("a sign-in from %s was refused", address)
        if self._wrong_count >= SIGN_INS_PER_CONNECTION and server.transport is not None:
            await server.push("421 4.7.0 Too many wrong passwords")
            server.transport.close()
            return None
        return "535 5.7.8 Authentication credentials invalid"

    async def handle_RCPT(  # aiosmtpd's name
        self, server: Connection, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Give the same answer for every recipient, so that it does not reveal who exists."""
        if len(address) > ADDRESS_CHARACTERS or not address.isprintable() or "@" not in address:
            return "553 5.1.3 Error: malformed address"
        if len(envelope.rcpt_tos) >= RECIPIENTS_AT_MOST:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_VRFY(  # aiosmtpd's name
        self, server: Connection, session: Session, envelope: Envelope, address: str
    ) -> str:
        return "252 2.5.2 Send the mail and see"

    async def handle_exception(self, error: Exception) -> str:
        logger.error("a mail session failed: %s", type(error).__name__, exc_info=error)
        return _LATER
