"""Posts to an address that somebody else chose, under the guard of data sources: to admitted addresses only, without
redirects and proxies, bounded in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from urllib.parse import urlsplit

import certifi
import urllib3

from integrations.clients.sources.errors import Problem, SourceError
from integrations.clients.sources.http_json import CONNECT_SECONDS, USER_AGENT, as_source_error, check_status
from integrations.clients.sources.http_url import is_plain
from integrations.clients.sources.ssrf import Reach, open_pool
from integrations.clients.wecom.deadline import total_deadline

_PORTS = {"http": 80, "https": 443}


def is_callable(url: str) -> bool:
    """Whether `url` is http or https with a host, and without credentials and fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_whole = parts.scheme in _PORTS and bool(parts.hostname) and (port is None or port > 0)
    return is_whole and "@" not in parts.netloc and "#" not in url and is_plain(url) and url.isascii()


def post(url: str, body: bytes, *, headers: Mapping[str, str], reach: Reach, seconds: float) -> None:
    """POST JSON to `url`, within `seconds` for all of it. Raises SourceError for anything but a 2xx answer, of which
    nothing is read."""
    failure: SourceError | None = None
    try:
        with total_deadline(seconds):
            _exchange(url, body, headers, reach, seconds)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        failure = as_source_error(error, seconds)
    if failure is not None:
        # Raised outside the block: inside, it would carry the other error, whose text holds the address.
        raise failure


def _exchange(url: str, body: bytes, headers: Mapping[str, str], reach: Reach, seconds: float) -> None:
    parts = urlsplit(url)
    pool = open_pool(
        parts.scheme,
        parts.hostname or "",
        parts.port or _PORTS[parts.scheme],
        reach=reach,
        ca_file=certifi.where(),
    )
    with closing(pool):
        response = pool.urlopen(
            "POST",
            urllib3.util.parse_url(url).request_uri,
            body=body,
            headers={"Content-Type": "application/json", "User-Agent": USER_AGENT, **headers},
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=None),
        )
        with closing(response):
            if 300 <= response.status < 400:
                raise SourceError(Problem.REDIRECTED)
            check_status(response.status)
