"""How often something may happen within a minute, counted in Valkey for all processes together.

Where Valkey does not answer, the caller gets redis.RedisError. Nobody signs in with WeCom without it anyway, since it
holds the states: the page that says so is the answer to a limit that cannot be counted, too (docs/sign-in.md).
"""

from __future__ import annotations

import math

from django.conf import settings
from django.http import HttpRequest

from accounts.lockout import network_of
from integrations.store import valkey

SECONDS = 60
# KEYS: what is counted, in turn. ARGV: seconds, then how many each may have: past one the rest is not counted.
_COUNT = """
local count = 0
for place, key in ipairs(KEYS) do
    count = redis.call('INCR', key)
    if count == 1 then redis.call('EXPIRE', key, ARGV[1]) end
    if count > tonumber(ARGV[place + 1]) then return 0 end
end
return 1
"""


def allows(limits: dict[str, int]) -> bool:
    """Count one more under each key in turn; False past its limit within the minute that the first of them began.

    What comes after a key past its limit is not counted. One round trip; the braces keep the keys on one node.
    """
    keys = [_stored(key) for key in limits]
    return bool(valkey().register_script(_COUNT)(keys=keys, args=[SECONDS, *limits.values()]))


def wait(key: str, *, at_most: int) -> int:
    """Count one more under `key`: 0 where that may be, past `at_most` the seconds until the count begins anew."""
    if allows({key: at_most}):
        return 0
    return max(1, math.ceil(int(valkey().pttl(_stored(key))) / 1000))


def allows_sign_in(request: HttpRequest, *, corp_id: int) -> bool:
    """Count one step of a sign-in, for its address (of IPv6: its /64) and for its company.

    False past settings.SIGN_INS_PER_ADDRESS or settings.SIGN_INS_PER_COMPANY. An address over its limit no longer
    counts against the company: one caller must not shut out everybody else.
    """
    address, company = f"sign-ins:address:{network_of(request) or 'unknown'}", f"sign-ins:corp:{corp_id}"
    return allows({address: settings.SIGN_INS_PER_ADDRESS, company: settings.SIGN_INS_PER_COMPANY})


def _stored(key: str) -> str:
    return f"accounts:{{limits}}:{key}"
