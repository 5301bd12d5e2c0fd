"""Builds the single sign-on token and the BI address that carries it. Pure.

Source: "观远BI-SSO集成" (docs.guandata.com/product/bi/6.0.0/guan-sso-rsa, read 2026-11-24).

A token in an address lands in logs and in history. So it is made at the click, lives for seconds, and is never stored.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

# The BI's own limit, where a token says nothing of its life.
LIFETIME_SECONDS_AT_MOST = 300
# PKCS#1 v1.5 puts so many bytes around what it pads.
_PADDING_BYTES = 11


@dataclass(frozen=True, slots=True)
class Claims:
    """Who comes in, and until when. `issued_at`: unix seconds. `domain_id`: asked for before version 5.9 only."""

    external_user_id: str
    issued_at: int
    lifetime_seconds: int
    domain_id: str = ""

    def as_json(self) -> bytes:
        """Always with a timestamp: the BI accepts a token without one for ever."""
        values: dict[str, str | int] = {"domainId": self.domain_id} if self.domain_id else {}
        values |= {
            "externalUserId": self.external_user_id,
            "timestamp": self.issued_at,
            "expiredTimeSeconds": self.lifetime_seconds,
        }
        return json.dumps(values, separators=(",", ":")).encode()


def sealed(claims: Claims, key: rsa.RSAPrivateKey) -> str:
    """The `ssoToken`: hex of the base64 of the claims, "encrypted" with the private key block by block.

    A block has as many bytes as the key less 11 (117 for 1024 bits) and gets PKCS#1 v1.5 padding of type 1
    (00 01 FF … FF 00), which is what signing a text without digest makes of it. Raises ValueError for an empty id and
    for a life that is not between 1 and 300 seconds.
    """
    if not claims.external_user_id or not 0 < claims.lifetime_seconds <= LIFETIME_SECONDS_AT_MOST:
        raise ValueError("a token needs somebody's id and a life of 1 to 300 seconds")
    text = claims.as_json()
    size = (key.key_size + 7) // 8 - _PADDING_BYTES
    blocks = [text[start : start + size] for start in range(0, len(text), size)]
    encrypted = b"".join(key.sign(block, padding.PKCS1v15(), utils.NoDigestInfo()) for block in blocks)
    return base64.b64encode(encrypted).hex()


def entrance(*, base_url: str, page: str, provider: str, token: str) -> str:
    """Where a browser is sent: `base_url` without a slash at its end, `page` (a path with its query, of urls.page_for),
    and provider and token, encoded.
    """
    joint = "&" if "?" in page else "?"
    return f"{base_url}{page}{joint}provider={quote(provider, safe='')}&ssoToken={token}"
