"""Reads a page of our own public address from outside. Plain Python."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import requests
import urllib3

from integrations.clients.errors import ConfigurationError, IntegrationError, TransientError
from integrations.clients.network import beginning_of
from integrations.clients.wecom.deadline import total_deadline

CONNECT_SECONDS = 3.05
TOTAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """An answer, whatever its status. `content`: the first bytes of it, as `network` reads them."""

    status: int
    content: bytes
    content_type: str
    location: str


class SiteClient:
    """Fetches pages without cookies, proxy or redirection. `total_seconds`: for the whole call, after the look-up."""

    def __init__(self, *, connect_seconds: float = CONNECT_SECONDS, total_seconds: float = TOTAL_SECONDS) -> None:
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds

    def fetch(self, url: str) -> Page:
        """The page at `url`. Raises ConfigurationError for a certificate that is not trusted, else TransientError."""
        try:
            with total_deadline(self._total_seconds):
                answer = beginning_of(url, connect_seconds=self._connect_seconds, accept="text/plain")
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _connection_error(error) from error
        headers = answer.headers
        return Page(answer.status, answer.content, headers.get("Content-Type", ""), headers.get("Location", ""))


def _connection_error(error: BaseException) -> IntegrationError:
    cause: BaseException | None = error
    name = type(error).__name__
    while cause is not None:
        name = type(cause).__name__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigurationError(cause.verify_message, system="site", operation="fetch")
        cause = cause.__cause__ or cause.__context__
    return TransientError(f"no answer ({name})", system="site", operation="fetch")
