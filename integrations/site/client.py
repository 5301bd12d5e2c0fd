"""The one door to our own public address: reads one page there as a stranger would. Knows nothing of Django."""

from __future__ import annotations

import ssl
from contextlib import closing
from dataclasses import dataclass

import requests
import urllib3

from integrations.errors import ConfigurationError, IntegrationError, TransientError
from integrations.wecom.client import USER_AGENT, open_session
from integrations.wecom.deadline import total_deadline

# More than any page that this client is to recognise.
CONTENT_BYTES_AT_MOST = 4096
CONNECT_SECONDS = 3.05
TOTAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """An answer, whatever its status. `content`: at most CONTENT_BYTES_AT_MOST bytes of it, as they were sent."""

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
            with total_deadline(self._total_seconds), open_session(connections=1) as session:
                return self._page(session, url)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _connection_error(error) from error

    def _page(self, session: requests.Session, url: str) -> Page:
        headers = {"Accept": "text/plain", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        timeout = self._connect_seconds
        answer = session.get(url, headers=headers, allow_redirects=False, stream=True, timeout=timeout)
        with closing(answer):
            content: bytes = answer.raw.read(CONTENT_BYTES_AT_MOST)
            location = answer.headers.get("Location", "")
            return Page(answer.status_code, content, answer.headers.get("Content-Type", ""), location)


def _connection_error(error: BaseException) -> IntegrationError:
    cause: BaseException | None = error
    name = type(error).__name__
    while cause is not None:
        name = type(cause).__name__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigurationError(cause.verify_message, system="site", operation="fetch")
        cause = cause.__cause__ or cause.__context__
    return TransientError(f"no answer ({name})", system="site", operation="fetch")
