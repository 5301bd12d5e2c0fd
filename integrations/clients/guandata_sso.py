"""Single sign-on to the BI: its key pair, its pages and reserved parameters, the token and the address. Pure.

Source: "观远BI-SSO集成" (docs.guandata.com/product/bi/6.0.0/guan-sso-rsa, read 2026-11-24).

Logs and the browser's history keep addresses with their tokens. So a token is made at the click, lives for seconds and
is never stored.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from contextlib import suppress
from enum import StrEnum
from urllib.parse import quote, unquote_plus

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

# --- Keys: the public one is pasted into the BI -----------------------------------------------------------------------

# The length in Guandata's documentation. Whether longer keys work depends on the BI's version.
DOCUMENTED_BITS = 1024
BITS_AT_MOST = 4096
_TEXT_CHARACTERS_AT_MOST = 16_384
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


class KeyFlaw(StrEnum):
    """The reason why a text is not a private key for single sign-on."""

    PUBLIC = "public"
    ENCRYPTED = "encrypted"
    UNREADABLE = "unreadable"
    NOT_RSA = "not-rsa"
    SHORT = "short"
    LONG = "long"


class KeyRefusedError(ValueError):
    """A text that is not a usable private key. The error holds no part of the text."""

    def __init__(self, flaw: KeyFlaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


def generate_private_key(bits: int = DOCUMENTED_BITS) -> str:
    """Return a new private key as PKCS#8 in PEM."""
    return format_private_key(rsa.generate_private_key(public_exponent=65537, key_size=bits))


def load_private_key(text: str) -> rsa.RSAPrivateKey:
    """Read a key from PKCS#8 in PEM, or from base64 without the PEM frame, as Java uses it. Raises KeyRefusedError."""
    if len(text) > _TEXT_CHARACTERS_AT_MOST:
        raise KeyRefusedError(KeyFlaw.LONG)
    begin = _PEM.search(text)
    if begin is not None and ("PUBLIC" in begin[1] or "CERTIFICATE" in begin[1]):
        raise KeyRefusedError(KeyFlaw.PUBLIC)
    key = _read_key(text.strip().encode(), is_pem=begin is not None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyRefusedError(KeyFlaw.NOT_RSA)
    if key.key_size < DOCUMENTED_BITS:
        raise KeyRefusedError(KeyFlaw.SHORT)
    if key.key_size > BITS_AT_MOST:
        raise KeyRefusedError(KeyFlaw.LONG)
    return key


def _read_key(text: bytes, *, is_pem: bool) -> object:
    try:
        if is_pem:
            return serialization.load_pem_private_key(text, password=None)
        der = base64.b64decode(b"".join(text.split()), validate=True)
        with suppress(ValueError, UnsupportedAlgorithm):
            return serialization.load_der_private_key(der, password=None)
        serialization.load_der_public_key(der)
    except TypeError:  # a password would be needed
        raise KeyRefusedError(KeyFlaw.ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefusedError(KeyFlaw.UNREADABLE) from None
    raise KeyRefusedError(KeyFlaw.PUBLIC)


def format_private_key(key: rsa.RSAPrivateKey) -> str:
    """Return the key as PKCS#8 in PEM, which is how it is stored."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def format_public_key(key: rsa.RSAPrivateKey) -> str:
    """Return the public key as PEM (SubjectPublicKeyInfo)."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def format_public_line(key: rsa.RSAPrivateKey) -> str:
    """Return the public key as one line of base64 without the PEM frame, as Java programs take it."""
    return "".join(line for line in format_public_key(key).splitlines() if not line.startswith("-----"))


# --- Parameters that only this site may set: a foreign token signs a person in as somebody else -----------------------
# Servers, proxies and frameworks read a query differently, so a name is reserved if any of them may take it for
# a reserved one: in capitals or full-width letters, encoded repeatedly, behind other separators, or as an array.

RESERVED_NAMES = frozenset({"provider", "ssotoken"})
_SEPARATORS = re.compile(r"[&;?#]")
# Characters at which PHP, Rails, Express and Spring split a name: ssoToken[], ssoToken[0], user.ssoToken.
_NESTING = re.compile(r"[\[\].]|[\x00-\x1f\x7f]")
# The form of old servers: %u0073 for s.
_UTF16 = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)


def remove_reserved_parameters(query: str) -> str:
    """Return the query, otherwise unchanged, without the pairs that hold a reserved name."""
    kept = [pair for pair in query.split("&") if not any(map(_is_reserved, _SEPARATORS.split(_decode_fully(pair))))]
    return "&".join(filter(None, kept))


def has_reserved_parameter(page: str) -> bool:
    """Return whether a page of the BI (a path, maybe with a query) has a reserved name, also behind a `;`."""
    path, *parameters = _SEPARATORS.split(_decode_fully(page))
    return any(map(_is_reserved, parameters))


def _is_reserved(parameter: str) -> bool:
    name = unicodedata.normalize("NFKC", parameter.partition("=")[0]).casefold()
    # Only letters and digits count: some servers bind `sso_token` and `sso-token` to `ssoToken`, or strip spaces.
    read_as = {"".join(filter(str.isalnum, part)) for part in (name, *_NESTING.split(name))}
    # Servers read a name that is not UTF-8 in different ways.
    return "\ufffd" in name or not RESERVED_NAMES.isdisjoint(read_as)


def _decode_fully(text: str) -> str:
    """Decode until nothing changes. It ends, because each round shortens the text."""
    while (decoded := unquote_plus(_UTF16.sub(lambda found: chr(int(found[1], 16)), text))) != text:
        text = decoded
    return text


# --- Pages for desktop and phone --------------------------------------------------------------------------------------

# The place of the page's id in a template.
ID = "{id}"
# Characters not encoded in a path.
_PLAIN = "/:@!$&'()*+,;=~-._"


def encode_path(text: str) -> str:
    """Encode text for a path."""
    return quote(text, safe=_PLAIN)


def is_page_template(text: str) -> bool:
    """Return whether `text` can be a template: a path with {id} as one whole part, and optionally a query."""
    path = text.partition("?")[0]
    is_path = text.startswith("/") and "//" not in path and "#" not in text
    return is_path and text.count("{") == 1 and ID in path.split("/") and not has_reserved_parameter(text)


def merge_query(page: str, query: str) -> str:
    """Append `query` to the page's own query. For a name in both, the value in `query` is used."""
    path, _mark, own = page.partition("?")
    requested = {pair.partition("=")[0] for pair in query.split("&")}
    kept = [
        pair for pair in remove_reserved_parameters(own).split("&") if pair and pair.partition("=")[0] not in requested
    ]
    whole = "&".join([*kept, *([query] if query else [])])
    return f"{path}?{whole}" if whole else path


# --- Tokens and addresses ---------------------------------------------------------------------------------------------

# The lifetime that the BI gives a token which states none.
LIFETIME_SECONDS_AT_MOST = 300
# PKCS#1 v1.5 takes at least this many bytes of each block for padding.
_PADDING_BYTES = 11


def encrypt_claims(
    key: rsa.RSAPrivateKey, *, external_user_id: str, issued_at: int, lifetime_seconds: int, domain_id: str = ""
) -> str:
    """Return the `ssoToken`: hex of the base64 of the claims, "encrypted" with the private key block by block.

    `issued_at`: unix seconds, always sent, because the BI accepts a token without a timestamp for ever. `domain_id`:
    needed only before version 5.9. A block has 11 bytes less than the key (117 for 1024 bits) and gets PKCS#1 v1.5
    padding of type 1 (00 01 FF … FF 00), like a signature without a digest. Raises ValueError for an empty id and for
    a lifetime that is not between 1 and 300 seconds.
    """
    if not external_user_id or not 0 < lifetime_seconds <= LIFETIME_SECONDS_AT_MOST:
        raise ValueError("a token needs somebody's id and a life of 1 to 300 seconds")
    claims: dict[str, str | int] = {"domainId": domain_id} if domain_id else {}
    claims |= {"externalUserId": external_user_id, "timestamp": issued_at, "expiredTimeSeconds": lifetime_seconds}
    text = json.dumps(claims, separators=(",", ":")).encode()
    size = (key.key_size + 7) // 8 - _PADDING_BYTES
    blocks = [text[start : start + size] for start in range(0, len(text), size)]
    encrypted = b"".join(key.sign(block, padding.PKCS1v15(), utils.NoDigestInfo()) for block in blocks)
    return base64.b64encode(encrypted).hex()


def build_sign_in_url(*, base_url: str, page: str, provider: str, token: str) -> str:
    """Return the address that signs a browser in: base URL, page, provider and token.

    `base_url`: without a trailing slash; `page`: a path with its query.
    """
    joint = "&" if "?" in page else "?"
    return f"{base_url}{page}{joint}provider={quote(provider, safe='')}&ssoToken={token}"
