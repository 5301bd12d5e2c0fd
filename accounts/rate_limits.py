"""How often something may happen within a minute, counted in Valkey for all processes together.

Where Valkey does not answer, the caller gets redis.RedisError. Nobody signs in with WeCom without it anyway, since it
holds the states: the page that says so is the answer to a limit that cannot be counted, too (docs/sign-in.md).
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from accounts.lockout import network_of
from integrations.store import valkey

SECONDS = 60
_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""


def count(key: str) -> int:
    """Count one more under `key`; how many there were in the minute that the first of them began."""
    return int(valkey().register_script(_COUNT)(keys=[f"accounts:{key}"], args=[SECONDS]))


def allows_sign_in(request: HttpRequest, *, corp_id: int) -> bool:
    """Count one step of a sign-in, for its address (of IPv6: its /64) and for its company.

    False past settings.SIGN_INS_PER_ADDRESS or settings.SIGN_INS_PER_COMPANY. An address over its limit no longer
    counts against the company: one caller must not shut out everybody else.
    """
    if count(f"sign-ins:address:{network_of(request) or 'unknown'}") > settings.SIGN_INS_PER_ADDRESS:
        return False
    return count(f"sign-ins:corp:{corp_id}") <= settings.SIGN_INS_PER_COMPANY
