"""Looks at the certificate of a server: when it ends. Sends nothing but the handshake."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime

from cryptography import x509


def ends_at(host: str, port: int, *, seconds: float) -> datetime | None:
    """When the certificate ends that answers at `host`; None where no TLS comes about within `seconds`.

    It is not verified: one that has ended is to be seen, too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            found = encrypted.getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(found).not_valid_after_utc if found else None
    except (OSError, ValueError):  # a name that is none, too
        return None
