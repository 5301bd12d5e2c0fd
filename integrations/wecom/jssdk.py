"""The signature of the JS-SDK. Pure. Source: developer.work.weixin.qq.com/document/path/90506."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """What `getConfigSignature` returns to the page."""

    timestamp: int
    nonce: str
    signature: str


def sign(*, ticket: str, nonce: str, timestamp: int, url: str) -> Signature:
    """The signature of the page at `url`: as the browser shows it, with its query; its fragment is left out.

    `timestamp`: Unix seconds. Nothing is encoded. The same for the company's and the application's ticket.
    """
    page = url.partition("#")[0]
    signed = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={page}"
    digest = hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()
    return Signature(timestamp, nonce, digest)
