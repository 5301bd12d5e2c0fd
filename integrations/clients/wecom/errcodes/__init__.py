"""WeCom's error codes: what the caller should do, and what an administrator should be told.

Source: the official table "全局错误码" (developer.work.weixin.qq.com/document/path/90313, crawl of 2024-04-08), and
answers seen in public traces. Match on the number, never on the text.
"""

from __future__ import annotations

from dataclasses import replace

from integrations.clients.errors import UNREADABLE_SECRET, Explanation, IntegrationError, UnexpectedResponseError
from integrations.clients.wecom.errcodes.entry import SITE_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.clients.wecom.errcodes.table import ENTRIES, OF_OPERATIONS

OK = 0
BUSY = -1
INVALID_CREDENTIAL = 40001
INVALID_CORPID = 40013
INVALID_TOKEN = 40014
INVALID_SECRET = 40091
TOKEN_EXPIRED = 42001
RATE_LIMITED = 45009
TOO_MANY_PARALLEL = 45033
IP_NOT_TRUSTED = 60020
NOBODY_REACHED = 81013

# gettoken refuses the Secret itself.
SECRET_REFUSED = frozenset({INVALID_CREDENTIAL, INVALID_CORPID, INVALID_SECRET})

# The token of the call is not good (any more): fetch another one, once.
STALE_TOKEN_CODES = frozenset({INVALID_CREDENTIAL, INVALID_TOKEN, TOKEN_EXPIRED})


_UNKNOWN = Explanation(
    what=_("WeCom answered with an error code that this program does not know."),
    who=SITE_ADMIN,
    where=_("Look the code up at https://open.work.weixin.qq.com/devtool/query and send code and hint to support."),
)


_UNREADABLE = Explanation(
    what=_("A stored secret cannot be read with the present keys (FIELD_ENCRYPTION_KEYS)."),
    who=SITE_ADMIN,
    where=_("Add the lost key behind the present ones and restart, or enter the secret again on its page."),
)


def error_class(code: int) -> type[IntegrationError]:
    """The error class of `code`; an unknown code is never retried."""
    entry = ENTRIES.get(code)
    return UnexpectedResponseError if entry is None else entry.error


def explain(code: int, *, operation: str = "") -> Explanation:
    """What an administrator should read about `code`, in English. `operation`: the call that was refused, if known."""
    if code == UNREADABLE_SECRET:
        return _UNREADABLE
    if (operation, code) in OF_OPERATIONS:
        return replace(OF_OPERATIONS[operation, code], guide=guide_of(code, operation=operation))
    return replace(ENTRIES[code].explanation, guide=guide_of(code)) if code in ENTRIES else _UNKNOWN


def guide_of(code: int, *, operation: str = "") -> str:
    """The place of `code` on the guides' page of errors."""
    return "-".join(filter(None, ["errcode", operation, str(code).replace("-", "minus-")]))
