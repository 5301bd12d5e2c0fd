"""Under which host names this site answers: the saved site addresses, and the names that the environment adds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port

from integrations.models import SiteAddress

# How long a process goes on admitting an address that was changed or deleted. A new one is admitted at once.
ADMITTED_SECONDS = 3.0
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class _Admitted:
    scheme: str
    until: float


_admitted: dict[str, _Admitted] = {}


def scheme_of_saved(host: str) -> str | None:
    """The scheme of the saved site address at `host` (a Host header in lower case); None where there is none.

    Only hits are remembered: a miss asks the database, so an address that was just saved works in every process.
    """
    known, now = _admitted.get(host), time.monotonic()
    if known is not None and now < known.until:
        return known.scheme
    saved = set(SiteAddress.objects.filter(url__in=_addresses_of(host)).values_list("url", flat=True))
    if not saved:
        _admitted.pop(host, None)
        return None
    scheme = max(urlsplit(url).scheme for url in saved)  # https, should both be saved
    _admitted[host] = _Admitted(scheme, now + ADMITTED_SECONDS)
    return scheme


def is_extra(host: str) -> bool:
    """Whether settings.EXTRA_ALLOWED_HOSTS names `host`; a name without port stands for every port."""
    names = {name.lower() for name in settings.EXTRA_ALLOWED_HOSTS}
    domain, _port = split_domain_port(host)
    return not names.isdisjoint({host, domain, domain.strip("[]")})


def is_admitted(host: str) -> bool:
    """Whether a request for `host` is answered."""
    return scheme_of_saved(host.lower()) is not None or is_extra(host.lower())


def forget() -> None:
    """Forget what this process remembers, because an address was changed here."""
    _admitted.clear()


def _addresses_of(host: str) -> list[str]:
    """The canonical addresses that a Host header can stand for; some clients write the default port, too."""
    return [f"{scheme}://{host.removesuffix(f':{port}')}/" for scheme, port in _DEFAULT_PORTS.items()]
