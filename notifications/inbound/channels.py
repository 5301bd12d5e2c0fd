"""The secret of an inbound channel, and the schemes by which a sender proves that it knows it: tokens and HMACs.

A new kind of sender needs one more row of SCHEMES. Sources: docs.github.com/webhooks (X-Hub-Signature-256),
docs.gitlab.com/user/project/integrations/webhooks (X-Gitlab-Token), grafana.com/docs, webhook notifier (HMAC), and
standardwebhooks.com for `t=…,v1=…` (read 2026-11-28).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from django.utils.translation import gettext_lazy as _

from integrations.models.fields import Unreadable
from notifications.models import InboundChannel

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


# The beginning of our secrets, by which secret scanners recognise them.
BEGINNING = "gwi_"
SECRET_BYTES = 32
# The scheme of a new channel, by kind.
FIRST_SCHEMES = {InboundChannel.Kind.WEBHOOK: "bearer", InboundChannel.Kind.MAIL: "password"}


def renew_secret(channel: InboundChannel) -> str:
    """Give the channel a new secret (unsaved) and return it: 47 letters, digits, "-" and "_" with 256 random bits. The
    former secret becomes invalid. The secret itself is stored only if the scheme needs it, else only a digest."""
    secret = BEGINNING + secrets.token_urlsafe(SECRET_BYTES)
    needs_secret = SCHEMES[channel.scheme].needs_secret
    channel.secret, channel.digest = (secret, "") if needs_secret else ("", make_digest(secret))
    return secret


# Largest error of a sender's clock, and time for which a recorded call could be replayed.
REPLAY_SECONDS = 300
TOKEN_CHARACTERS_AT_MOST = 512
SIGNATURES_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to prove the secret. `where`: the place of the proof in a call; `password` is for the mail server, which
    asks for it itself. `name`: the header or parameter. `prefix`: the text before a signature's digits. `timestamp`:
    for timed_hmac, the header with the seconds, signed as `<seconds>:<body>`. If it is empty, the seconds are beside
    the signature as `t=<seconds>,v1=<digits>`, signed as `<seconds>.<body>`."""

    label: StrOrPromise
    where: Literal["header", "bearer", "basic", "query", "hmac", "timed_hmac", "password"]
    name: str = ""
    algorithm: str = "sha256"
    prefix: str = ""
    timestamp: str = ""

    @property
    def needs_secret(self) -> bool:
        """Return whether a check needs the secret itself; a digest is enough for other schemes."""
        return self.where in {"hmac", "timed_hmac"}


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "bearer": Scheme(_("token in the header Authorization: Bearer"), "bearer"),
        "basic": Scheme(_("user name and password (Authorization: Basic)"), "basic"),
        "header": Scheme(_("token in the header X-Channel-Token"), "header", "X-Channel-Token"),
        "gitlab": Scheme(_("token in the header X-Gitlab-Token"), "header", "X-Gitlab-Token"),
        "hmac_sha256": Scheme(
            _("HMAC-SHA256 of the body in X-Hub-Signature-256 (GitHub)"),
            "hmac",
            "X-Hub-Signature-256",
            prefix="sha256=",
        ),
        "hmac_sha1": Scheme(_("HMAC-SHA1 of the body in X-Hub-Signature"), "hmac", "X-Hub-Signature", "sha1", "sha1="),
        "hmac": Scheme(_("HMAC-SHA256 of the body in X-Signature"), "hmac", "X-Signature"),
        "grafana": Scheme(
            _("HMAC-SHA256 of the body in X-Grafana-Alerting-Signature"), "hmac", "X-Grafana-Alerting-Signature"
        ),
        "grafana_timed": Scheme(
            _("the same with the time in X-Grafana-Timestamp"),
            "timed_hmac",
            "X-Grafana-Alerting-Signature",
            timestamp="X-Grafana-Timestamp",
        ),
        "timed": Scheme(_("HMAC-SHA256 of time and body in X-Signature: t=…,v1=…"), "timed_hmac", "X-Signature"),
        "query": Scheme(_("token in the address (only for senders that can do nothing else)"), "query", "token"),
        "password": Scheme(_("user name and password of the mail server"), "password"),
    }
)
# Schemes of webhooks, in the order in which they are offered.
WEBHOOK_SCHEMES = tuple(name for name, scheme in SCHEMES.items() if scheme.where != "password")


@dataclass(frozen=True, slots=True)
class Proof:
    """The parts of a call that may prove the secret. `headers`: by name, case-insensitive; `query`: the
    last value of each name."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


def make_digest(secret: str) -> str:
    """Return the SHA-256 in hexadecimal digits. 256 random bits cannot be guessed, so no salt is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def verify_proof(channel: InboundChannel | None, proof: Proof, *, now: float) -> str | None:
    """Return a key if the call proves the channel's secret, else None. `now`: seconds since 1970.

    The key is a digest of the signed content and time, equal for a replayed call; it is empty for schemes that sign no
    time, with which an honest sender may make the same call twice. The comparison takes constant time, also without a
    channel or for one that stores no secret, which no call can prove.
    """
    channel = channel or InboundChannel()
    scheme = SCHEMES.get(channel.scheme) or SCHEMES["bearer"]
    if not scheme.needs_secret:
        token = ""
        kind, _space, value = proof.headers.get("Authorization", "").strip().partition(" ")
        if scheme.where == "query":
            token = proof.query.get(scheme.name, "")
        elif scheme.where == "header":
            token = proof.headers.get(scheme.name, "").strip()
        elif kind.lower() == scheme.where == "bearer":
            token = value.strip()
        elif kind.lower() == scheme.where:  # basic: `user:password` in base64, with any user
            with suppress(ValueError):
                token = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
        token = token[:TOKEN_CHARACTERS_AT_MOST]
        is_right = hmac.compare_digest(make_digest(token), channel.digest or "-" * 64)
        return "" if is_right and token and channel.digest else None
    secret = "" if isinstance(channel.secret, Unreadable) else channel.secret
    signed = [
        content
        for content, signature in _read_signatures(scheme, proof, now)
        if hmac.compare_digest(hmac.digest(secret.encode(), content, scheme.algorithm), signature)
    ]
    if not signed or not secret:
        return None
    return hashlib.sha256(signed[0]).hexdigest() if scheme.where == "timed_hmac" else ""


def _read_signatures(scheme: Scheme, proof: Proof, now: float) -> Iterator[tuple[bytes, bytes]]:
    """Yield pairs for each signature of the call: the content that it should sign, and the signature."""
    value = proof.headers.get(scheme.name, "").strip()
    if scheme.where == "hmac":
        if value.startswith(scheme.prefix):
            yield proof.body, _decode_digits(value.removeprefix(scheme.prefix))
    elif scheme.timestamp:
        seconds = proof.headers.get(scheme.timestamp, "").strip()
        if _is_fresh(seconds, now):
            yield f"{seconds}:".encode() + proof.body, _decode_digits(value)
    else:
        parts = [part.strip().partition("=") for part in value.split(",", SIGNATURES_AT_MOST)[:SIGNATURES_AT_MOST]]
        seconds = next((text for name, _is, text in parts if name == "t"), "")
        if _is_fresh(seconds, now):
            signed = f"{seconds}.".encode() + proof.body
            yield from ((signed, _decode_digits(text)) for name, _is, text in parts if name == "v1")


def _is_fresh(seconds: str, now: float) -> bool:
    return seconds.isascii() and seconds.isdigit() and len(seconds) < 13 and abs(now - int(seconds)) <= REPLAY_SECONDS


def _decode_digits(text: str) -> bytes:
    """Decode hexadecimal digits or base64; empty for anything else."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
