"""Opens a single sign-on token with the public key, by plain arithmetic: text = cipher^e mod n, block by block."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from wecom_sandbox.state.bi import Bi, BiUser

# How long a token with a timestamp lives where it does not say.
USUAL_SECONDS = 300


class Refused(Exception):
    """`reason`: provider, key, token, claims, expired, early, domain or user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def signed_in(bi: Bi, *, provider: str, token: str, now: float) -> BiUser:
    """Who a token brings in. Raises Refused."""
    if provider != bi.provider:
        raise Refused("provider")
    claims = _claims(opened(token, _public_key(bi.public_key)))
    _check_time(bi, claims, now)
    if claims.get("domainId", bi.domain) != bi.domain:
        raise Refused("domain")
    user = bi.user(str(claims.get("externalUserId", "")) or "\0")
    if user is None:
        raise Refused("user")
    return user


def opened(token: str, key: RSAPublicKey) -> bytes:
    """What the token seals: hex of base64 of blocks, each padded as 00 01 FF … FF 00. Raises Refused."""
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    try:
        encrypted = base64.b64decode(bytes.fromhex(token), validate=True)
    except (ValueError, binascii.Error):
        raise Refused("token") from None
    if not encrypted or len(encrypted) % size:
        raise Refused("token")
    blocks = (encrypted[start : start + size] for start in range(0, len(encrypted), size))
    return b"".join(
        _unpadded(pow(int.from_bytes(one, "big"), numbers.e, numbers.n).to_bytes(size, "big")) for one in blocks
    )


def _unpadded(block: bytes) -> bytes:
    padding, zero, text = block[2:].partition(b"\0")
    if block[:2] != b"\0\1" or not zero or len(padding) < 8 or set(padding) != {0xFF}:
        raise Refused("token")
    return text


def _public_key(text: str) -> RSAPublicKey:
    try:
        if "-----BEGIN" in text:
            key: Any = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(base64.b64decode("".join(text.split())))
    except (ValueError, binascii.Error):
        raise Refused("key") from None
    if not isinstance(key, RSAPublicKey):
        raise Refused("key")
    return key


def _claims(text: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("claims") from None
    if not isinstance(claims, dict):
        raise Refused("claims")
    return claims


def _check_time(bi: Bi, claims: dict[str, Any], now: float) -> None:
    issued_at, life = claims.get("timestamp"), claims.get("expiredTimeSeconds", USUAL_SECONDS)
    if issued_at is None:
        if not bi.accepts_forever:
            raise Refused("expired")
        return
    if isinstance(issued_at, bool) or not isinstance(issued_at, int) or not isinstance(life, int):
        raise Refused("claims")
    if issued_at > now + USUAL_SECONDS:
        raise Refused("early")
    if now > issued_at + life:
        raise Refused("expired")
