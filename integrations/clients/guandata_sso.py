"""Single sign-on to the BI: its key pair, its pages and reserved parameters, the token and the address. Pure.

Source: "观远BI-SSO集成" (docs.guandata.com/product/bi/6.0.0/guan-sso-rsa, read 2026-11-24).

A token in an address lands in logs and in history. So it is made at the click, lives for seconds, and is never stored.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote_plus

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

# --- Keys: the public one is pasted into the BI -----------------------------------------------------------------------

# What Guandata's documentation asks for. Whether longer keys work depends on its version.
DOCUMENTED_BITS = 1024
BITS_AT_MOST = 4096
_TEXT_CHARACTERS_AT_MOST = 16_384
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


class Flaw(StrEnum):
    """Why a text is no private key for single sign-on."""

    PUBLIC = "public"
    ENCRYPTED = "encrypted"
    UNREADABLE = "unreadable"
    NOT_RSA = "not-rsa"
    SHORT = "short"
    LONG = "long"


class KeyRefused(ValueError):
    """The text is no private key that can be used. Holds nothing of the text."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


def generate(bits: int = DOCUMENTED_BITS) -> str:
    """A new private key as PKCS#8 in PEM."""
    return pem_of(rsa.generate_private_key(public_exponent=65537, key_size=bits))


def load(text: str) -> rsa.RSAPrivateKey:
    """The key of a text: PKCS#8 in PEM, or its base64 alone, as Java programs keep it. Raises KeyRefused."""
    if len(text) > _TEXT_CHARACTERS_AT_MOST:
        raise KeyRefused(Flaw.LONG)
    begin = _PEM.search(text)
    if begin is not None and ("PUBLIC" in begin[1] or "CERTIFICATE" in begin[1]):
        raise KeyRefused(Flaw.PUBLIC)
    key = _loaded(text.strip().encode(), is_pem=begin is not None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyRefused(Flaw.NOT_RSA)
    if key.key_size < DOCUMENTED_BITS:
        raise KeyRefused(Flaw.SHORT)
    if key.key_size > BITS_AT_MOST:
        raise KeyRefused(Flaw.LONG)
    return key


def pem_of(key: rsa.RSAPrivateKey) -> str:
    """The key as PKCS#8 in PEM, in which it is kept."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """The public half as PEM (SubjectPublicKeyInfo)."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def public_line(key: rsa.RSAPrivateKey) -> str:
    """The same as one line of base64 without its frame, as Java programs take it."""
    return "".join(line for line in public_pem(key).splitlines() if not line.startswith("-----"))


def _loaded(text: bytes, *, is_pem: bool) -> object:
    try:
        if is_pem:
            return serialization.load_pem_private_key(text, password=None)
        der = base64.b64decode(b"".join(text.split()), validate=True)
    except TypeError:  # a password would be needed
        raise KeyRefused(Flaw.ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        raise KeyRefused(Flaw.UNREADABLE) from None
    return _of_der(der)


def _of_der(der: bytes) -> object:
    try:
        return serialization.load_der_private_key(der, password=None)
    except TypeError:
        raise KeyRefused(Flaw.ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm):
        pass
    try:
        serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused(Flaw.UNREADABLE) from None
    raise KeyRefused(Flaw.PUBLIC)


# --- Parameters that only this site may set: a foreign token signs a person in as somebody else -----------------------
# Servers, proxies and frameworks differ in how they read a query, so a name is reserved if any of them may take it for
# one: in other letters, encoded again and again, behind other separators, or as an array.

NAMES = frozenset({"provider", "ssotoken"})
_SEPARATORS = re.compile(r"[&;?#]")
# What PHP, Rails, Express and Spring take apart in a name: ssoToken[], ssoToken[0], user.ssoToken.
_NESTING = re.compile(r"[\[\].]|[\x00-\x1f\x7f]")
# Also in the form of old servers: %u0073 for s.
_UTF16 = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)


def without_reserved(query: str) -> str:
    """The query as it stood, without the pairs that hold something reserved."""
    kept = [pair for pair in query.split("&") if not any(map(_is_reserved, _SEPARATORS.split(_decoded(pair))))]
    return "&".join(filter(None, kept))


def has_reserved(page: str) -> bool:
    """Whether a page of the BI (a path, with query if any) names something reserved, also behind a `;` of its path."""
    path, *parameters = _SEPARATORS.split(_decoded(page))
    return any(map(_is_reserved, parameters))


def _is_reserved(parameter: str) -> bool:
    name = unicodedata.normalize("NFKC", parameter.partition("=")[0]).casefold()
    # A name that is no UTF-8 is read differently everywhere.
    return "\ufffd" in name or not NAMES.isdisjoint(map(_letters, [name, *_NESTING.split(name)]))


def _letters(name: str) -> str:
    """`sso_token` and `sso-token` are `ssoToken` to who binds names to fields; spaces around a name are cut by some."""
    return "".join(char for char in name if char.isalnum())


def _decoded(text: str) -> str:
    """Decoded until nothing changes any more: each round is shorter than the one before."""
    while (decoded := unquote_plus(_UTF16.sub(lambda found: chr(int(found[1], 16)), text))) != text:
        text = decoded
    return text


# --- Pages for desktop and phone --------------------------------------------------------------------------------------

# Where a template has the id of the page.
ID = "{id}"
_ID = r"(?P<id>[^/?#]+)"
# Kept as they are in a path; everything else is encoded.
_PLAIN = "/:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class PageForms:
    """How addresses of the BI look.

    `desktop`, `phone`: templates of a page, with {id}; an empty one for the phone means that it gets the desktop's.
    `desktop_home`, `phone_home`: the first page. `routed`: first words of paths that the BI serves behind its first
    page only, as `?path_url=…` (its forms: survey-engine).
    """

    desktop: str = "/page/{id}"
    phone: str = "/m/page/{id}?pageRenderType=phoneView"
    desktop_home: str = "/"
    phone_home: str = "/"
    routed: tuple[str, ...] = ("survey-engine",)


def page_for(requested: str, query: str, *, forms: PageForms, on_phone: bool) -> str:
    """The page that was asked for in the form for who asks, with the query that came along.

    `requested`: a path without its first slash, decoded; empty for the first page. `query`: as it stood in the address.
    What is reserved is left out of it and of the forms' own queries, however it is spelt.
    """
    further = without_reserved(query)
    home = forms.phone_home if on_phone else forms.desktop_home
    if not requested:
        return _joined(home, further)
    if requested.split("/", 1)[0] in forms.routed:
        inner = _joined(in_path(requested), further)
        return _joined(home, f"path_url={quote(inner, safe='')}")
    found = _id_in(requested, forms)
    if found is not None:
        template = forms.phone if on_phone and forms.phone else forms.desktop
        return _joined(template.replace(ID, quote(found, safe="")), further)
    return _joined("/" + in_path(requested), further)


def in_path(text: str) -> str:
    """Decoded text as part of a path."""
    return quote(text, safe=_PLAIN)


def is_template(text: str) -> bool:
    """Whether `text` names every page: a path with {id} as one whole part of it, and with a query if any."""
    path = text.partition("?")[0]
    is_path = text.startswith("/") and "//" not in path and "#" not in text
    return is_path and text.count("{") == 1 and ID in path.split("/") and not has_reserved(text)


def _id_in(requested: str, forms: PageForms) -> str | None:
    for template in filter(None, (forms.desktop, forms.phone)):
        pattern = re.escape(template.partition("?")[0].lstrip("/")).replace(re.escape(ID), _ID)
        found = re.fullmatch(f"{pattern}/?", requested)
        if found is not None:
            return found["id"]
    return None


def _joined(page: str, query: str) -> str:
    """`query` behind what the page has of its own; of two with one name, the one that was asked for counts."""
    path, _mark, own = page.partition("?")
    requested = {pair.partition("=")[0] for pair in query.split("&")}
    kept = [pair for pair in without_reserved(own).split("&") if pair and pair.partition("=")[0] not in requested]
    whole = "&".join([*kept, *([query] if query else [])])
    return f"{path}?{whole}" if whole else path


# --- Tokens and addresses ---------------------------------------------------------------------------------------------

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
