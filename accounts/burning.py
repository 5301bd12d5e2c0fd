"""Codes that we refuse are redeemed in the background: unspent they are a live credential for whoever saw them.

Here they are good for nobody from the moment of their refusal (login_state.refuse). But whoever else holds the app's
Secret, as the BI's own connection with WeCom, would still take them (docs/decisions/0003).
"""

from __future__ import annotations

import re

from cryptography.fernet import InvalidToken

from accounts import login_state, rate_limits
from accounts.sign_in import AuthorizationCode
from integrations.errors import IntegrationError
from integrations.fields import cipher
from integrations.wecom.client import WeComClient

# WeCom keeps codes below 512 bytes.
_FORM = re.compile(r"[A-Za-z0-9_.~+/=-]{1,512}")
# Invented codes must not use up the company's calls to WeCom (10,000 a minute; real codes do not count there). A whole
# company begins its day by the home page link, each time with a code to be spent.
BURNS_PER_MINUTE = 1000


def is_well_formed(code: str) -> bool:
    return _FORM.fullmatch(code) is not None


def may_burn(*, corp_id: int) -> bool:
    """Count one burning for the corp; False once there were BURNS_PER_MINUTE within the minute."""
    return rate_limits.allows(f"burns:{corp_id}", at_most=BURNS_PER_MINUTE)


def seal(code: AuthorizationCode) -> str:
    """The code as it may stand in a queue that administrators and backups can read."""
    return cipher().encrypt(code.value.encode()).decode()


def unseal(sealed: str) -> AuthorizationCode | None:
    """None for what no key opens, or for a code that is dead by now."""
    try:
        return AuthorizationCode(cipher().decrypt(sealed.encode(), ttl=login_state.CODE_SECONDS).decode())
    except InvalidToken:
        return None


def burn(*, client: WeComClient, code: AuthorizationCode) -> str:
    """Redeem `code` and discard the answer. Returns "burned", or the name of the error that WeCom gave."""
    try:
        client.auth_getuserinfo(code.value)
    except IntegrationError as error:
        return type(error).__name__
    return "burned"
