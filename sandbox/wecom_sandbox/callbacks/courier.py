"""Delivery of events to callback addresses: encrypted, within 5 seconds, at most three times, to this machine only."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import socket
import struct
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp import AddrInfoType, web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wecom_sandbox.http import bodies
from wecom_sandbox.state import administration
from wecom_sandbox.state.events import Callback, Outbox, Outgoing
from wecom_sandbox.state.world import App, Company, World

_BLOCK = 32
_RANDOM_BYTES = 16


class BadCallback(Exception):
    """A signature, a ciphertext or a receiver is wrong."""


def decode_aes_key(encoded: str) -> bytes:
    """Return the 32 bytes of an EncodingAESKey (43 characters; its two spare bits are ignored). Raise ValueError."""
    if len(encoded) != 43:
        raise ValueError("EncodingAESKey must have 43 characters")
    try:
        return base64.b64decode(encoded + "=", validate=True)
    except binascii.Error as error:
        raise ValueError("EncodingAESKey must be letters and digits") from error


def sign_callback(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    """Return the msg_signature of a callback: SHA-1 of the sorted parts, in hex. Source: WeCom's page 90968."""
    joined = b"".join(sorted(part.encode() for part in (token, timestamp, nonce, encrypted)))
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def encrypt(message: bytes, *, key: bytes, receiveid: str, random: bytes | None = None) -> str:
    """Encrypt random bytes, length, message and receiver, padded to blocks of 32, as base64. `random`: for tests."""
    start = secrets.token_bytes(_RANDOM_BYTES) if random is None else random
    plain = start + struct.pack(">I", len(message)) + message + receiveid.encode()
    padding = _BLOCK - len(plain) % _BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()).decode()


def decrypt(encrypted: str, *, key: bytes, receiveid: str) -> bytes:
    """Return the message. Raise BadCallback."""
    try:
        cipher = base64.b64decode(encrypted, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCallback("not base64") from error
    if not cipher or len(cipher) % 16:
        raise BadCallback("not whole blocks")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    padded = decryptor.update(cipher) + decryptor.finalize()
    padding = padded[-1]
    if not 1 <= padding <= _BLOCK or padded[-padding:] != bytes([padding]) * padding:
        raise BadCallback("wrong padding")
    plain = padded[_RANDOM_BYTES:-padding]
    if len(plain) < 4:
        raise BadCallback("too short")
    length = struct.unpack(">I", plain[:4])[0]
    message, receiver = plain[4 : 4 + length], plain[4 + length :]
    if len(message) != length or receiver != receiveid.encode():
        raise BadCallback("wrong length or receiver")
    return message


def check_signature(signature: str, *, token: str, timestamp: str, nonce: str, encrypted: str) -> None:
    """Raise BadCallback if the signature is wrong."""
    if not hmac.compare_digest(sign_callback(token, timestamp, nonce, encrypted).encode(), signature.encode()):
        raise BadCallback("wrong signature")


logger = logging.getLogger(__name__)
_REPLY_MOST_BYTES = 1024 * 1024
_VERIFY_SECONDS = 1.0
# Most events that are sent to one app at the same time.
_SENDERS = 4


class Undeliverable(Exception):
    """A try failed. `outcome`: the reason in a few words for the log; `status`: the HTTP status, if any."""

    def __init__(self, outcome: str, status: int = 0) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.status = status


class _NotLoopbackError(OSError):
    """The address is not on this machine."""


class Courier:
    """Sender of all events of one server. `run` works until it is cancelled."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wake = asyncio.Event()

    async def run(self) -> None:
        self._world.wake_courier = self._wake.set
        self._wake.set()
        async with open_session() as session, asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                outbox = self._world.outbox
                for outgoing in outbox.claim(most_running=_SENDERS):
                    task = group.create_task(self._deliver(session, outbox, outgoing))
                    task.add_done_callback(partial(_mark_done, outbox, outgoing))

    async def _deliver(self, session: aiohttp.ClientSession, outbox: Outbox, outgoing: Outgoing) -> None:
        callback = self._find_callback(outgoing)
        if callback is None:
            return
        fault = self._world.faults.claim("callback", corpid=outgoing.corpid, agentid=outgoing.agentid)
        for _ in range(2 if fault is not None and fault.kind == "duplicate_callback" else 1):
            try:
                await self._deliver_with_retries(session, outbox, outgoing, callback)
            except Exception:  # one event that breaks something must not end the delivery of all others
                logger.exception("callback to %s/%s failed", outgoing.corpid, outgoing.agentid)

    async def _deliver_with_retries(
        self, session: aiohttp.ClientSession, outbox: Outbox, outgoing: Outgoing, callback: Callback
    ) -> None:
        """Try until the event is delivered, the tries are used up, or a reset has dropped the event."""
        settings = self._world.settings
        for attempt in range(1, settings.callback_attempts + 1):
            if attempt > 1:
                await asyncio.sleep(settings.callback_pause_seconds)
            if self._world.outbox is not outbox:
                return
            try:
                outcome = await self._post_event(session, outbox, outgoing, callback)
            except Undeliverable as error:
                self._log_attempt(outbox, outgoing, attempt, error.outcome, error.status)
                continue
            self._log_attempt(outbox, outgoing, attempt, outcome, 200)
            return

    async def _post_event(
        self, session: aiohttp.ClientSession, outbox: Outbox, outgoing: Outgoing, callback: Callback
    ) -> str:
        """Make one POST with a new signature, timestamp, nonce and ciphertext. Raise Undeliverable."""
        try:
            key = decode_aes_key(callback.aes_key)
        except ValueError as error:
            raise Undeliverable(str(error)) from error
        encrypted = encrypt(bodies.write_xml(outgoing.elements).encode(), key=key, receiveid=outgoing.corpid)
        agentid = "" if outgoing.agentid is None else str(outgoing.agentid)
        envelope = {"ToUserName": outgoing.corpid, "AgentID": agentid, "Encrypt": encrypted}
        url = self._build_signed_url(callback, encrypted)
        seconds = self._world.settings.callback_timeout_seconds
        status, body = await fetch(session, "POST", url, seconds=seconds, body=bodies.write_xml(envelope).encode())
        if status != 200:
            raise Undeliverable("not 200", status)
        if body.strip() in (b"", b"success"):
            return "ok"
        return self._read_reply(outbox, outgoing, callback, key, body)

    def _read_reply(self, outbox: Outbox, outgoing: Outgoing, callback: Callback, key: bytes, body: bytes) -> str:
        """Apply a passive reply and return the outcome. After an invalid one the event is not sent again. A reply after
        a reset is ignored."""
        try:
            reply = bodies.parse_xml(body)
            parts = {name: (reply.findtext(name) or "").strip() for name in ("Encrypt", "TimeStamp", "Nonce")}
            check_signature(
                (reply.findtext("MsgSignature") or "").strip(),
                token=callback.token,
                timestamp=parts["TimeStamp"],
                nonce=parts["Nonce"],
                encrypted=parts["Encrypt"],
            )
            plain = bodies.parse_xml(decrypt(parts["Encrypt"], key=key, receiveid=outgoing.corpid))
            if outgoing.on_reply is not None and self._world.outbox is outbox:
                outgoing.on_reply(plain)
        except (ValueError, BadCallback) as error:
            return f"bad reply: {error}"
        return "replied"

    def _build_signed_url(self, callback: Callback, encrypted: str, **more: str) -> str:
        timestamp, nonce = str(int(self._world.now())), str(secrets.randbelow(10**10))
        signature = sign_callback(callback.token, timestamp, nonce, encrypted)
        query = urlencode({"msg_signature": signature, "timestamp": timestamp, "nonce": nonce, **more})
        return f"{callback.url}{'&' if '?' in callback.url else '?'}{query}"

    def _find_callback(self, outgoing: Outgoing) -> Callback | None:
        company = self._world.companies.get(outgoing.corpid)
        if company is None:
            return None
        if outgoing.agentid is None:
            return company.contacts_callback
        app = company.apps.get(outgoing.agentid)
        return app.callback if app is not None and not app.disabled else None

    def _log_attempt(self, outbox: Outbox, outgoing: Outgoing, attempt: int, outcome: str, status: int) -> None:
        outbox.log.add(outgoing.make_record(self._world.now(), attempt=attempt, outcome=outcome, status=status))

    async def verify_callback(self, corpid: str, callback: Callback) -> str:
        """Check the address as WeCom's console does: a GET whose answer proves the key. Return the problem, or ""."""
        echo = str(secrets.randbelow(10**19))
        try:
            encrypted = encrypt(echo.encode(), key=decode_aes_key(callback.aes_key), receiveid=corpid)
        except ValueError as error:
            return str(error)
        url = self._build_signed_url(callback, encrypted, echostr=encrypted)
        try:
            async with open_session() as session:
                status, body = await fetch(session, "GET", url, seconds=_VERIFY_SECONDS)
        except Undeliverable as error:
            return error.outcome
        if status != 200:
            return f"HTTP {status}"
        return "" if body == echo.encode() else "the answer is not the plain echo"

    async def verify_domain(self, company: Company, app: App) -> str:
        """Look for the verification file and remember the result. Return "" if it is right, else the problem."""
        name = administration.make_verification_file_name(company, app)
        problem = "there is no trusted domain"
        for scheme in ("https", "http") if app.trusted_domain else ():
            try:
                async with open_session() as session:
                    status, body = await fetch(session, "GET", f"{scheme}://{app.trusted_domain}/{name}", seconds=5)
            except Undeliverable as error:
                problem = error.outcome
                continue
            right = body == name.removeprefix("WW_verify_").removesuffix(".txt").encode()
            problem = "" if status == 200 and right else f"HTTP {status}, body {'right' if right else 'wrong'}"
            if not problem:
                break
        app.domain_verified = not problem
        return problem


# Key under which the web application stores the courier.
COURIER = web.AppKey("courier", Courier)


async def fetch(
    session: aiohttp.ClientSession, method: str, url: str, *, seconds: float, body: bytes = b""
) -> tuple[int, bytes]:
    """Request a URL of this machine, without following redirects. Return status and body. Raise Undeliverable."""
    try:
        async with asyncio.timeout(seconds):
            _check_scheme(url)
            headers = {"Content-Type": "text/xml"} if body else {}
            async with session.request(
                method, url, data=body or None, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status, await _read_body(answer)
    except TimeoutError as error:
        raise Undeliverable(f"no answer within {seconds:g} s") from error
    except aiohttp.ClientConnectorError as error:
        is_remote = isinstance(error.os_error, _NotLoopbackError)
        raise Undeliverable("not on this machine" if is_remote else f"no connection: {type(error).__name__}") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Undeliverable(f"no connection: {type(error).__name__}") from error


async def _read_body(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, cut to _REPLY_MOST_BYTES."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) >= _REPLY_MOST_BYTES:
            break
    return bytes(body[:_REPLY_MOST_BYTES])


def open_session() -> aiohttp.ClientSession:
    """Open a session to this machine only, without cookies and without a limit of connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, socket_factory=_open_loopback_socket),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def _open_loopback_socket(found: AddrInfoType) -> socket.socket:
    """Open a socket to a loopback address. Raise _NotLoopbackError for any other address that a name resolves to."""
    family, kind, protocol, _, (host, *_) = found
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise _NotLoopbackError("not on this machine")
    return socket.socket(family, kind, protocol)


def _check_scheme(url: str) -> None:
    """Raise Undeliverable unless the URL is http or https and names a host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Undeliverable("not an http address")


def _mark_done(outbox: Outbox, outgoing: Outgoing, _: object) -> None:
    outbox.finish(outgoing)
