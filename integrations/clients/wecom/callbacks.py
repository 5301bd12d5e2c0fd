"""Callbacks: what WeCom posts, from the encrypted envelope to an event. Pure.

Whitespace, order, CDATA and the case of event names vary at WeCom, so everything is read as XML, and safely: no
document type, no entities. Source: developer.work.weixin.qq.com/document/path/90930 (page of 2024-12-13), 90238 to
90240 for messages and events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from integrations.clients.wecom.crypto import CallbackCrypto, CallbackError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # nosec B405  # a type only; defusedxml parses

ENVELOPE_BYTES = 5 * 1024 * 1024
DEPTH_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Envelope:
    """What arrives, before it is opened. `agentid` is empty for the directory-sync assistant."""

    receiver: str
    agentid: str
    encrypted: str


@dataclass(frozen=True, slots=True)
class Callback:
    """A message or an event, opened.

    `kind`: the message type, for an event its name, in lower case (`text`, `template_card_event`, `change_contact`).
    `change`: ChangeType in lower case, for changes of the directory. `fields`: all elements by their names at the
    wire; one with children is a mapping, repeated ones are a list, and everything else is text. `dedupe_key`: the
    same for the three deliveries of one callback, which differ in everything but the plaintext.
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
        """One element as text; empty where it is missing or has children."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""


def read_envelope(body: bytes) -> Envelope:
    """The posted XML. Raises CallbackError."""
    if len(body) > ENVELOPE_BYTES:
        raise CallbackError("the body is too long")
    fields = _fields_of(body)
    encrypted = fields.get("Encrypt")
    if not isinstance(encrypted, str) or not encrypted:
        raise CallbackError("there is no Encrypt element")
    return Envelope(_text(fields, "ToUserName"), _text(fields, "AgentID"), encrypted)


def verify_url(crypto: CallbackCrypto, *, signature: str, timestamp: str, nonce: str, echostr: str) -> bytes:
    """The answer to WeCom's check of a callback address: send it as it is, within a second. Raises CallbackError."""
    return crypto.opened(echostr, signature=signature, timestamp=timestamp, nonce=nonce)


def parse(message: bytes) -> Callback:
    """The plaintext of a callback. Raises CallbackError."""
    fields = _fields_of(message)
    msgtype = _text(fields, "MsgType").lower()
    is_event = msgtype == "event"
    kind = _text(fields, "Event").lower() if is_event else msgtype
    if not kind:
        raise CallbackError("there is no MsgType, or no Event")
    agentid = _text(fields, "AgentID")
    return Callback(
        corpid=_text(fields, "ToUserName"),
        userid=_text(fields, "FromUserName"),
        agentid=int(agentid) if agentid.isascii() and agentid.isdigit() and len(agentid) < 12 else None,
        created_at=_seconds(_text(fields, "CreateTime")),
        is_event=is_event,
        kind=kind,
        change=_text(fields, "ChangeType").lower(),
        dedupe_key=_dedupe_key(fields, message),
        fields=fields,
    )


def _dedupe_key(fields: Mapping[str, Any], message: bytes) -> str:
    """MsgId for a message; for an event a digest of the plaintext, since two events may share their second."""
    msgid = _text(fields, "MsgId")
    return f"msg:{msgid[:64]}" if msgid else f"sha256:{hashlib.sha256(message).hexdigest()}"


def _seconds(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise CallbackError("CreateTime is not a time")
    return int(value)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value.strip() if isinstance(value, str) else ""


def _fields_of(document: bytes) -> dict[str, Any]:
    try:
        root = fromstring(document, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise CallbackError(f"not XML that we read ({type(error).__name__})") from None
    fields = _value(root, DEPTH_AT_MOST)
    if not isinstance(fields, dict):
        raise CallbackError("the XML has no elements")
    return fields


def _value(element: Element, depth: int) -> Any:
    if not len(element):
        return element.text or ""
    if depth == 0:
        raise CallbackError("the XML is nested too deeply")
    fields: dict[str, Any] = {}
    for inner in element:
        value = _value(inner, depth - 1)
        if inner.tag not in fields:
            fields[inner.tag] = value
        elif isinstance(fields[inner.tag], list):
            fields[inner.tag].append(value)
        else:
            fields[inner.tag] = [fields[inner.tag], value]
    return fields
