"""The secret of an inbound channel, and the schemes by which a sender proves that it holds it: tokens and HMACs.

A scheme is a row of data; a new sender needs one more row. Sources: docs.github.com/webhooks (X-Hub-Signature-256),
docs.gitlab.com/user/project/integrations/webhooks (X-Gitlab-Token), grafana.com/docs, webhook notifier (HMAC), and
standardwebhooks.com for `t=…,v1=…` (read 2026-11-28).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from notifications.models import InboundChannel

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


# Lets scanners of source code and logs recognise a secret.
BEGINNING = "gwi_"
SECRET_BYTES = 32
# Scheme of a new channel.
FIRST_SCHEMES = {InboundChannel.Kind.WEBHOOK: "bearer", InboundChannel.Kind.MAIL: "password"}


def renew_secret(channel: InboundChannel) -> str:
    """Give the channel a new secret (unsaved) and return it: 47 letters, digits, "-" and "_" with 256 random bits. The
    former secret becomes invalid."""
    secret = BEGINNING + secrets.token_urlsafe(SECRET_BYTES)
    kept = kept_of(secret, channel.scheme)
    channel.secret, channel.digest = kept.secret, kept.digest
    return secret


# --- Proofs that a sender holds the secret ---

# Largest error of a sender's clock, and time for which a recorded call could be replayed.
REPLAY_SECONDS = 300
TOKEN_CHARACTERS_AT_MOST = 512
SIGNATURES_AT_MOST = 8


class Where(StrEnum):
    """Place of the proof in a call."""

    HEADER = "header"
    BEARER = "bearer"
    BASIC = "basic"
    QUERY = "query"
    HMAC = "hmac"
    TIMED_HMAC = "timed_hmac"
    PASSWORD = "password"  # noqa: S105  # of a mail server, which asks for it itself


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to prove the secret. `name`: of the header or parameter. `prefix`: before the digits of a signature.
    `timestamp`: for TIMED_HMAC, the header with the seconds, signed as `<seconds>:<body>`. If empty, the seconds are
    beside the signature as `t=<seconds>,v1=<digits>`, signed as `<seconds>.<body>`."""

    label: StrOrPromise
    where: Where
    name: str = ""
    algorithm: str = "sha256"
    prefix: str = ""
    timestamp: str = ""

    @property
    def needs_secret(self) -> bool:
        """Return whether a check needs the secret itself; a digest is enough for other schemes."""
        return self.where in {Where.HMAC, Where.TIMED_HMAC}


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "bearer": Scheme(_("token in the header Authorization: Bearer"), Where.BEARER),
        "basic": Scheme(_("user name and password (Authorization: Basic)"), Where.BASIC),
        "header": Scheme(_("token in the header X-Channel-Token"), Where.HEADER, "X-Channel-Token"),
        "gitlab": Scheme(_("token in the header X-Gitlab-Token"), Where.HEADER, "X-Gitlab-Token"),
        "hmac_sha256": Scheme(
            _("HMAC-SHA256 of the body in X-Hub-Signature-256 (GitHub)"),
            *(Where.HMAC, "X-Hub-Signature-256", "sha256", "sha256="),
        ),
        "hmac_sha1": Scheme(
            _("HMAC-SHA1 of the body in X-Hub-Signature"), Where.HMAC, "X-Hub-Signature", "sha1", "sha1="
        ),
        "hmac": Scheme(_("HMAC-SHA256 of the body in X-Signature"), Where.HMAC, "X-Signature"),
        "grafana": Scheme(
            _("HMAC-SHA256 of the body in X-Grafana-Alerting-Signature"), Where.HMAC, "X-Grafana-Alerting-Signature"
        ),
        "grafana_timed": Scheme(
            _("the same with the time in X-Grafana-Timestamp"),
            *(Where.TIMED_HMAC, "X-Grafana-Alerting-Signature"),
            timestamp="X-Grafana-Timestamp",
        ),
        "timed": Scheme(_("HMAC-SHA256 of time and body in X-Signature: t=…,v1=…"), Where.TIMED_HMAC, "X-Signature"),
        "query": Scheme(_("token in the address (only for senders that can do nothing else)"), Where.QUERY, "token"),
        "password": Scheme(_("user name and password of the mail server"), Where.PASSWORD),
    }
)
# Schemes of webhooks, in the order in which they are offered.
WEBHOOK_SCHEMES = tuple(name for name, scheme in SCHEMES.items() if scheme.where != Where.PASSWORD)


@dataclass(frozen=True, slots=True)
class Proof:
    """The parts of a call that prove it. `headers`: by name, in any case; `query`: the last value of each name."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """Stored form of a channel's secret: the secret for schemes that need it, else its digest."""

    secret: str = ""
    digest: str = ""


def digest_of(secret: str) -> str:
    """Return the SHA-256 in hexadecimal digits. 256 random bits cannot be guessed, so no salt is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def kept_of(secret: str, scheme: str) -> Kept:
    return Kept(secret=secret) if SCHEMES[scheme].needs_secret else Kept(digest=digest_of(secret))


def verify(scheme: str, proof: Proof, kept: Kept, *, now: float) -> bool:
    """Return whether the call proves the secret. `now`: seconds since 1970. The comparison takes constant time, also
    for a channel that stores nothing, which no call proves."""
    known = SCHEMES.get(scheme) or SCHEMES["bearer"]
    if not known.needs_secret:
        token = _token(known, proof)[:TOKEN_CHARACTERS_AT_MOST]
        return hmac.compare_digest(digest_of(token), kept.digest or "-" * 64) and bool(token and kept.digest)
    is_signed = [
        hmac.compare_digest(hmac.digest(kept.secret.encode(), content, known.algorithm), given)
        for content, given in _signatures(known, proof, now)
    ]
    return any(is_signed) and bool(kept.secret)


def repeat_key(scheme: str, proof: Proof, *, now: float) -> str:
    """Return a digest of the signed content, which is equal for a replayed call. Call it after `verify`. Empty for
    schemes that sign no time: with those an honest sender may make the same call twice."""
    known = SCHEMES[scheme]
    if known.where != Where.TIMED_HMAC:
        return ""
    return next((hashlib.sha256(content).hexdigest() for content, _given in _signatures(known, proof, now)), "")


def _token(scheme: Scheme, proof: Proof) -> str:
    if scheme.where == Where.QUERY:
        return proof.query.get(scheme.name, "")
    if scheme.where == Where.HEADER:
        return proof.headers.get(scheme.name, "").strip()
    kind, _space, value = proof.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() != scheme.where:
        return ""
    if scheme.where == Where.BEARER:
        return value.strip()
    try:  # `user:password` in base64; any user
        return base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _signatures(scheme: Scheme, proof: Proof, now: float) -> Iterator[tuple[bytes, bytes]]:
    """Yield the signed content and the signatures given for it."""
    value = proof.headers.get(scheme.name, "").strip()
    if scheme.where == Where.HMAC:
        if value.startswith(scheme.prefix):
            yield proof.body, _digits(value.removeprefix(scheme.prefix))
    elif scheme.timestamp:
        seconds = proof.headers.get(scheme.timestamp, "").strip()
        if _is_fresh(seconds, now):
            yield f"{seconds}:".encode() + proof.body, _digits(value)
    else:
        parts = [part.strip().partition("=") for part in value.split(",", SIGNATURES_AT_MOST)[:SIGNATURES_AT_MOST]]
        seconds = next((text for name, _is, text in parts if name == "t"), "")
        if _is_fresh(seconds, now):
            signed = f"{seconds}.".encode() + proof.body
            yield from ((signed, _digits(text)) for name, _is, text in parts if name == "v1")


def _is_fresh(seconds: str, now: float) -> bool:
    return seconds.isascii() and seconds.isdigit() and len(seconds) < 13 and abs(now - int(seconds)) <= REPLAY_SECONDS


def _digits(text: str) -> bytes:
    """Decode hexadecimal digits or base64; empty for anything else."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
