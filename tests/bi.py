"""A connected BI, and readers of the addresses by which people are passed on to it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from integrations.clients import guandata_sso
from integrations.datasources import catalogue
from integrations.models import BiConnection, Job
from integrations.models.installation import SINGLETON_PK
from tests.integrations.clients.guandata.opening import opened

BI = "https://guandata.example.com"
# Made for tests, as all keys here; it opens nothing.
KEY = guandata_sso.generate_private_key()
PUBLIC = guandata_sso.format_public_key(guandata_sso.load_private_key(KEY))


def make_bi(**values: Any) -> BiConnection:
    """Set up the BI connection as an administrator would leave it."""
    usual = {
        **{"is_enabled": True, "base_url": BI, "private_key": KEY, "key_saved_at": timezone.now()},
        # People of tests always have a username; the default is an attribute.
        "external_id_source": "username",
    }
    return BiConnection.objects.update_or_create(pk=SINGLETON_PK, defaults={**usual, **values})[0]


def read_claims(location: str, base_url: str = BI) -> dict[str, Any]:
    """Return the claims of the SSO token in an address of the BI. Fail for another address."""
    assert location.startswith(f"{base_url}/")
    tokens = [pair[9:] for pair in urlsplit(location).query.split("&") if pair.startswith("ssoToken=")]
    assert len(tokens) == 1
    return opened(tokens[0], PUBLIC)


def read_page_path(location: str) -> str:
    """Return path and query of an address of the BI, without the parameters of the sign-in."""
    parts = urlsplit(location)
    pairs = [pair for pair in parts.query.split("&") if pair and not pair.startswith(("ssoToken=", "provider="))]
    return parts.path + ("?" + "&".join(pairs) if pairs else "")


def make_listing(entries: Sequence[Sequence[str]] = (), page_id: str = "", *, at: datetime, **columns: Any) -> Job:
    """Make the job of the BI's last listing, asked with the present version of the connection."""
    version = BiConnection.objects.values_list("connection_version", flat=True).first() or 0
    known = {"payload": {"page": page_id, "version": version}, "result": {"entries": [list(one) for one in entries]}}
    times = {"requested_at": at, "due_at": at, "finished_at": at}
    return Job.objects.create(kind=catalogue.LIST, key=f"/{page_id}", **{"status": "done", **known, **times, **columns})
