"""WeCom's error codes: what the caller should do, and what an administrator should be told.

Source: the official table "全局错误码" (developer.work.weixin.qq.com/document/path/90313, crawl of 2024-04-08), and
answers seen in public traces. Match on the number, never on the text.
"""

from __future__ import annotations

from dataclasses import dataclass

from integrations.errors import (
    BadRequestError,
    ConfigurationError,
    IntegrationError,
    LoginRefusedError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
)


def gettext_noop(text: str) -> str:
    """Mark `text` for the catalogues. Whoever shows it translates it: this package knows nothing of Django."""
    return text


OK = 0
BUSY = -1
INVALID_CREDENTIAL = 40001
INVALID_TOKEN = 40014
TOKEN_EXPIRED = 42001
RATE_LIMITED = 45009
TOO_MANY_PARALLEL = 45033
NOBODY_REACHED = 81013
IP_NOT_TRUSTED = 60020

# The token of the call is not good (any more): fetch another one, once.
STALE_TOKEN_CODES = frozenset({INVALID_CREDENTIAL, INVALID_TOKEN, TOKEN_EXPIRED})


@dataclass(frozen=True, slots=True)
class Advice:
    """What an administrator reads, in English: what happened, who can fix it, where to click."""

    what: str
    who: str
    where: str


_CLASSES: dict[type[IntegrationError], tuple[int, ...]] = {
    TransientError: (-1, 6000, 40014, 42001),
    RateLimitedError: (45009, 45033),
    ConfigurationError: (
        *(40001, 40013, 40054, 40055, 40056, 40057, 40091, 41002, 41004, 43012, 45024, 45031),
        *(48001, 48002, 48004, 48005, 48006, 48009, 50001, 50003, 50006, 60020, 60028, 60031, 80001, 81011),
        *(85004, 85005, 85006, 85007, 85008, 85111, 93000, 93004, 93008, 301002, 301042, 701008, 701099, 2000002),
    ),
    RecipientError: (
        *(40003, 40031, 40050, 40068, 40073, 40201, 42052, 43004, 46003, 46004, 49008, 50002, 60003, 60123),
        *(60011, 60021, 60111, 60140, 81013, 82004, 82101, 82102, 85002, 86003, 92000),
    ),
    LoginRefusedError: (40029, 41008, 42003, 42022, 84014, 84015),
    BadRequestError: (
        *(40004, 40005, 40006, 40007, 40008, 40009, 40011, 40016, 40017, 40018, 40019, 40020),
        *(40022, 40023, 40024, 40025, 40026, 40027, 40032, 40033, 40035, 40039, 40058, 40059, 40063, 40066),
        *(40074, 40093, 40094, 40123, 40206, 41001, 41006, 41009, 41010, 41011, 41016, 41033, 42012),
        *(42014, 42015, 42016, 42017, 42018, 42019, *range(42027, 42052), 44001, 44004, 45001, 45002, 45004, 45007),
        *(45008, 45022, 45029, 45032, 45034, 50100, 60102, 81012, 81014, 82001, 82002, 82003, 84025),
        *(86001, 86002, 86004, 86005, 86006, 86007, 86008, 86101, *range(86201, 86208), 86215, 86216, 86217),
        *(*range(90201, 90209), 91040, 301016, 301017),
    ),
}
_CLASS_OF = {code: cls for cls, codes in _CLASSES.items() for code in codes}


def error_class(code: int) -> type[IntegrationError]:
    """The error class of `code`; an unknown code is never retried."""
    return _CLASS_OF.get(code, UnexpectedResponseError)


def explain(code: int) -> Advice:
    """What to tell an administrator about `code`."""
    return _UNKNOWN


_UNKNOWN = Advice(
    what=gettext_noop("WeCom answered with an error code that this program does not know."),
    who=gettext_noop("The administrator of this site."),
    where=gettext_noop(
        "Look the code up at https://open.work.weixin.qq.com/devtool/query and send number and hint to support."
    ),
)
