"""The secret of an inbound channel."""

from __future__ import annotations

import secrets

from notifications.inbound import signatures
from notifications.models import InboundChannel

# By which a scanner of source code or logs knows one.
BEGINNING = "gwi_"
SECRET_BYTES = 32
# Of a new channel.
FIRST_SCHEMES = {InboundChannel.Kind.WEBHOOK: "bearer", InboundChannel.Kind.MAIL: "password"}


def renew_secret(channel: InboundChannel) -> str:
    """Give the channel another secret, unsaved: 47 letters, digits, "-" and "_" with 256 random bits. The one before
    is no longer good."""
    secret = BEGINNING + secrets.token_urlsafe(SECRET_BYTES)
    kept = signatures.kept_of(secret, channel.scheme)
    channel.secret, channel.digest = kept.secret, kept.digest
    return secret
