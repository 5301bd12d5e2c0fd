"""Rate limits per minute, counted in Valkey for all processes.

Where Valkey does not answer, the caller gets redis.RedisError. Nobody signs in with WeCom without it anyway, since it
holds the states: the page that says so is the answer to a limit that cannot be counted, too (docs/en/sign-in.md).
"""

from __future__ import annotations

import ipaddress
import math

from django.conf import settings
from django.http import HttpRequest

from integrations.core.redis import script, valkey

SECONDS = 60
# What counts as one address of IPv6.
IPV6_PREFIX = 48
# KEYS: what is counted. ARGV: seconds, which begin with the first.
_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""


def allows(key: str, *, at_most: int) -> bool:
    """Count one more under `key`; False past `at_most` within the minute that the first of them began."""
    return int(script(_COUNT)(keys=[_stored(key)], args=[SECONDS])) <= at_most


def wait(key: str, *, at_most: int) -> int:
    """Count one more under `key`: 0 where that may be, past `at_most` the seconds until the count begins anew."""
    if allows(key, at_most=at_most):
        return 0
    return max(1, math.ceil(int(valkey().pttl(_stored(key))) / 1000))


def allows_step(request: HttpRequest) -> bool:
    """Count one step of a sign-in (start, callback, QR panel) for its address (of IPv6: its /48).

    False past settings.SIGN_INS_PER_ADDRESS. Nothing that anybody may ask for without a code counts against a company:
    whoever has many addresses could shut out its people.
    """
    return allows(f"sign-ins:address:{network_of(request) or 'unknown'}", at_most=settings.SIGN_INS_PER_ADDRESS)


def allows_redeeming(*, corp_id: int) -> bool:
    """Count one code that is about to be redeemed for its company; False past settings.SIGN_INS_PER_COMPANY."""
    return allows(f"sign-ins:corp:{corp_id}", at_most=settings.SIGN_INS_PER_COMPANY)


def network_of(request: HttpRequest) -> str | None:
    """The caller's address; of IPv6 the /48, since one customer of a provider may have all of it. Proxies are unwrapped
    already.

    A server that listens on `[::]` names IPv4 callers inside one network of IPv6: they are told apart as IPv4.
    """
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False).network_address)
    return str(address)


def _stored(key: str) -> str:
    return f"accounts:{{limits}}:{key}"
