"""The addresses from which this site calls WeCom: what its console takes as trusted IPs.

WeCom names an address only when it refuses it, one at a time. So what it named lately stands here beside what an
administrator noted, because the server's network has more ways out, or before the first refusal.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from integrations.core.validators import without_invisible
from integrations.models import CheckRun, Corp

SEPARATOR = ";"
# WeCom takes at most 120 addresses for an app (errcode 85006 for more).
AT_MOST = 120
# Not is_private, which includes the address ranges for documentation.
_INSIDE = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/3", "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
]
_SEPARATORS = re.compile(r"[\s,，、;；]+")


@dataclass(frozen=True, slots=True)
class KnownIp:
    """One address of ours: named by WeCom, at `seen_at` where that refusal is kept, or noted by an administrator."""

    address: str
    seen_at: datetime | None
    is_named: bool


def addresses_in(text: str) -> list[str]:
    """The addresses of a list with semicolons, commas (Western or Chinese), spaces or lines, each once.

    Raises ValidationError, with a sentence: WeCom sees public addresses only, and no names.
    """
    found = []
    for word in map(without_invisible, _SEPARATORS.split(text)):
        if word:
            found.append(_public_address(word))
    addresses = list(dict.fromkeys(found))
    if len(addresses) > AT_MOST:
        raise ValidationError(_("WeCom takes at most %(count)s trusted IPs."), code="many", params={"count": AT_MOST})
    return addresses


def _public_address(word: str) -> str:
    try:
        address = ipaddress.ip_address(word)
        if "%" in word:
            raise ValueError("an address with the name of a network card")
    except ValueError:
        raise ValidationError(
            _("“%(word)s” is not an IP address: four numbers with dots, such as 203.0.113.9."),
            code="address",
            params={"word": word[:64]},
        ) from None
    address = getattr(address, "ipv4_mapped", None) or address
    if any(address in network for network in _INSIDE if network.version == address.version):
        raise ValidationError(
            _("%(word)s is an address inside your network. WeCom sees the public one: ask your network administrator."),
            code="private",
            params={"word": word},
        )
    return str(address)


def note(*, corp: Corp, addresses: list[str], seen: str) -> bool:
    """Keep what an administrator noted, in place of what stood there, which they saw as `seen`.

    Returns False where somebody else had noted others meanwhile; these then stand in `corp` and are kept.
    """
    with transaction.atomic():
        row = Corp.objects.select_for_update().only("noted_ips").get(pk=corp.pk)
        corp.noted_ips = row.noted_ips
        if SEPARATOR.join(row.noted_ips) != seen:
            return False
        Corp.objects.filter(pk=corp.pk).update(noted_ips=addresses)
    corp.noted_ips = addresses
    return True


def known(corp: Corp) -> list[KnownIp]:
    """Every address of ours that is known, what WeCom named last first."""
    refused = CheckRun.objects.filter(corp=corp, caller_ip__isnull=False).order_by("caller_ip")
    newest = dict(refused.values_list("caller_ip").annotate(Max("finished_at")))
    seen = {ip: at for at, ip in sorted(((at, ip) for ip, at in newest.items() if at), reverse=True)}
    # A check that is tried again and passes keeps what it was refused before.
    facts = CheckRun.objects.filter(corp=corp, check_name="ip").order_by("-pk").values_list("facts", flat=True).first()
    named = dict.fromkeys([*seen, *(facts or {}).get("addresses", [])])
    noted = [ip for ip in corp.noted_ips if ip not in named]
    return [*(KnownIp(ip, seen.get(ip), True) for ip in named), *(KnownIp(ip, None, False) for ip in noted)]


def to_paste(corp: Corp) -> str:
    """The known addresses as WeCom's console takes them."""
    return SEPARATOR.join(ip.address for ip in known(corp))
