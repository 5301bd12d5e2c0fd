"""Callbacks of WeCom: read the encrypted envelope and the event in it, and encrypt our reply. Pure.

Whitespace, order, CDATA and the case of event names vary at WeCom, so everything is parsed as XML, without document
types and entities. Source: developer.work.weixin.qq.com/document/path/90930 (page of 2024-12-13), 90238 to
90240 for messages and events. The cryptography (90968, "加解密方案说明", and the official libraries) is AES-256-CBC
over: 16 random bytes, the message's length in 4 bytes, the message, the receiver; padded to a multiple of 32 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # nosec B405  # a type only; defusedxml parses

ENVELOPE_BYTES = 5 * 1024 * 1024
DEPTH_AT_MOST = 20
BLOCK_BYTES = 32
RANDOM_BYTES = 16
_LENGTH_BYTES = 4
CIPHERTEXT_CHARACTERS = 4 * 1024 * 1024
_AES_KEY = re.compile(r"[0-9A-Za-z+/]{43}")
_TOKEN = re.compile(r"[0-9A-Za-z]{1,32}")
_BASE64 = re.compile(r"[0-9A-Za-z+/]+={0,2}")


class CallbackError(Exception):
    """A callback that is malformed, not from WeCom or not for us. `reason`: for the log; the sender does not see it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Callback:
    """A message or an event, decrypted.

    `kind`: the message type or the event's name, in lower case (`text`, `template_card_event`, `change_contact`).
    `change`: ChangeType in lower case, for changes of the directory. `fields`: all elements by WeCom's names; one with
    children is a mapping, repeated ones are a list, everything else is text. `dedupe_key`: equal whenever WeCom
    delivers the same callback, up to three times; it is made from the plaintext, because all else differs.
    """

    corpid: str
    userid: str
    agentid: int | None
    created_at: int
    is_event: bool
    kind: str
    change: str
    dedupe_key: str
    fields: Mapping[str, Any] = field(repr=False)

    def text(self, name: str) -> str:
        """Return one element as text; empty if it is missing or has children."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""


def read_envelope(body: bytes) -> tuple[str, str]:
    """Return the receiver and the encrypted message of the posted XML. Raises CallbackError."""
    if len(body) > ENVELOPE_BYTES:
        raise CallbackError("the body is too long")
    fields = _read_fields(body)
    encrypted = fields.get("Encrypt")
    if not isinstance(encrypted, str) or not encrypted:
        raise CallbackError("there is no Encrypt element")
    return _read_text(fields, "ToUserName"), encrypted


@dataclass(frozen=True, slots=True)
class CallbackCrypto:
    """The token and the key of one callback address; `receiveid` is the corpid for a company's own application.

    Raises ValueError for a token or key that WeCom's console would not give.
    """

    token: str = field(repr=False)
    encoding_aes_key: str = field(repr=False)
    receiveid: str
    _key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token):
            raise ValueError("the token must have 1 to 32 letters and digits")
        if not _AES_KEY.fullmatch(self.encoding_aes_key):
            raise ValueError("an EncodingAESKey must have 43 letters and digits")
        # Decoded leniently: 43 characters carry two bits more than 32 bytes need, and real keys have them set.
        object.__setattr__(self, "_key", base64.b64decode(self.encoding_aes_key + "="))

    def decrypt(self, encrypted: str, *, signature: str, timestamp: str, nonce: str) -> bytes:
        """Return the message inside `encrypted` after checking its signature. Raises CallbackError."""
        expected = self.sign(encrypted, timestamp=timestamp, nonce=nonce)
        if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise CallbackError("the signature is wrong")
        if len(encrypted) > CIPHERTEXT_CHARACTERS or not _BASE64.fullmatch(encrypted):
            raise CallbackError("the ciphertext is not base64, or too long")
        try:
            ciphertext = base64.b64decode(encrypted)
        except binascii.Error:
            raise CallbackError("the ciphertext is not base64") from None
        if not ciphertext or len(ciphertext) % BLOCK_BYTES:
            raise CallbackError("the ciphertext is not made of whole blocks")
        decryptor = self._make_cipher().decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        count = padded[-1]
        if not 1 <= count <= BLOCK_BYTES or padded[-count:] != bytes([count]) * count:
            raise CallbackError("the padding is wrong")
        plain, start = padded[:-count], RANDOM_BYTES + _LENGTH_BYTES
        if len(plain) < start:
            raise CallbackError("the plaintext is too short")
        (length,) = struct.unpack(">I", plain[RANDOM_BYTES:start])
        if length > len(plain) - start:
            raise CallbackError("the length is wrong")
        message, receiveid = plain[start : start + length], plain[start + length :]
        if not hmac.compare_digest(receiveid, self.receiveid.encode()):
            raise CallbackError("the message is for another receiver")
        return message

    def encrypt(self, message: bytes, *, timestamp: str, nonce: str, random: bytes | None = None) -> tuple[str, str]:
        """Return `message` encrypted, and its signature. `timestamp`: Unix seconds. `random`: only for tests."""
        random = secrets.token_bytes(RANDOM_BYTES) if random is None else random
        plain = random + struct.pack(">I", len(message)) + message + self.receiveid.encode()
        count = BLOCK_BYTES - len(plain) % BLOCK_BYTES
        encryptor = self._make_cipher().encryptor()
        encrypted = base64.b64encode(encryptor.update(plain + bytes([count]) * count) + encryptor.finalize()).decode()
        return encrypted, self.sign(encrypted, timestamp=timestamp, nonce=nonce)

    def sign(self, encrypted: str, *, timestamp: str, nonce: str) -> str:
        """Return SHA-1 over the four texts in bytewise order."""
        parts = sorted(part.encode(errors="replace") for part in (self.token, timestamp, nonce, encrypted))
        return hashlib.sha1(b"".join(parts), usedforsecurity=False).hexdigest()

    def _make_cipher(self) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES256(self._key), modes.CBC(self._key[:16]))


def parse_callback(message: bytes) -> Callback:
    """Read the plaintext of a callback. Raises CallbackError."""
    fields = _read_fields(message)
    msgtype = _read_text(fields, "MsgType").lower()
    is_event = msgtype == "event"
    kind = _read_text(fields, "Event").lower() if is_event else msgtype
    if not kind:
        raise CallbackError("there is no MsgType, or no Event")
    agentid, msgid, created_at = (_read_text(fields, name) for name in ("AgentID", "MsgId", "CreateTime"))
    if not created_at.isascii() or not created_at.isdigit() or len(created_at) > 12:
        raise CallbackError("CreateTime is not a time")
    return Callback(
        corpid=_read_text(fields, "ToUserName"),
        userid=_read_text(fields, "FromUserName"),
        agentid=int(agentid) if agentid.isascii() and agentid.isdigit() and len(agentid) < 12 else None,
        created_at=int(created_at),
        is_event=is_event,
        kind=kind,
        change=_read_text(fields, "ChangeType").lower(),
        # Two events may share their second, so the whole plaintext identifies an event.
        dedupe_key=f"msg:{msgid[:64]}" if msgid else f"sha256:{hashlib.sha256(message).hexdigest()}",
        fields=fields,
    )


def _read_text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value.strip() if isinstance(value, str) else ""


def _read_fields(document: bytes) -> dict[str, Any]:
    try:
        root = fromstring(document, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise CallbackError(f"not XML that we read ({type(error).__name__})") from None
    fields = _read_value(root, DEPTH_AT_MOST)
    if not isinstance(fields, dict):
        raise CallbackError("the XML has no elements")
    return fields


def _read_value(element: Element, depth: int) -> Any:
    if not len(element):
        return element.text or ""
    if depth == 0:
        raise CallbackError("the XML is nested too deeply")
    fields: dict[str, Any] = {}
    for inner in element:
        value = _read_value(inner, depth - 1)
        if inner.tag not in fields:
            fields[inner.tag] = value
        elif isinstance(fields[inner.tag], list):
            fields[inner.tag].append(value)
        else:
            fields[inner.tag] = [fields[inner.tag], value]
    return fields
