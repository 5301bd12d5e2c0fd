"""Rate limits per minute, counted in Valkey for all processes.

Where Valkey does not answer, the caller gets redis.RedisError. Nobody signs in with WeCom without it anyway, since it
holds the states: the page that says so is the answer to a limit that cannot be counted, too (docs/en/sign-in.md).
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from integrations.core.redis import script, valkey

SECONDS = 60
# What counts as one address of IPv6.
IPV6_PREFIX = 48
# For scripts that count on their way. `at_most` -1: no limit, nothing is counted.
COUNTING = f"""
local function is_over(key, at_most)
    if at_most == '-1' then return false end
    local count = redis.call('INCR', key)
    if count == 1 then redis.call('EXPIRE', key, {SECONDS}) end
    return count > tonumber(at_most)
end
"""
# KEYS: what is counted. ARGV: how many may be.
_COUNT = f"{COUNTING} return is_over(KEYS[1], ARGV[1]) and 1 or 0"


@dataclass(frozen=True, slots=True)
class Limit:
    """What is counted under `key`: `at_most` within a minute."""

    key: str
    at_most: int

    def allows(self) -> bool:
        """Count one more; False past the limit."""
        return allows(self.key, at_most=self.at_most)


def key_and_count(limit: Limit | None) -> tuple[str, int]:
    """What COUNTING's `is_over` wants to know of a limit, or of none."""
    return (_stored("none"), -1) if limit is None else (_stored(limit.key), limit.at_most)


def allows(key: str, *, at_most: int) -> bool:
    """Count one more under `key`; False past `at_most` within the minute that the first of them began."""
    return not script(_COUNT)(keys=[_stored(key)], args=[at_most])


def wait(key: str, *, at_most: int) -> int:
    """Count one more under `key`: 0 where that may be, past `at_most` the seconds until the count begins anew."""
    if allows(key, at_most=at_most):
        return 0
    return max(1, math.ceil(int(valkey().pttl(_stored(key))) / 1000))


def step_limit(request: HttpRequest) -> Limit:
    """Of steps of sign-ins (start, callback, QR panel) from one address (of IPv6: its /48).

    Nothing that anybody may ask for without a code counts against a company: whoever has many addresses could shut out
    its people.
    """
    return Limit(f"sign-ins:address:{network_of(request) or 'unknown'}", settings.SIGN_INS_PER_ADDRESS)


def redeeming_limit(*, corp_id: int) -> Limit:
    """Of codes of one company that are about to be redeemed."""
    return Limit(f"sign-ins:corp:{corp_id}", settings.SIGN_INS_PER_COMPANY)


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
