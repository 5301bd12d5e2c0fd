"""The checks of the diagnosis, in the order in which their problems are best solved."""

from __future__ import annotations

from integrations.companies.diagnosis.checks.console import CALLBACK, DOMAIN, HOME_PAGE, OWNERSHIP, VERIFICATION_FILE
from integrations.companies.diagnosis.checks.credentials import (
    AGENTID,
    APP,
    ASSISTANT,
    CONTACTS,
    DEPARTMENTS,
    SCOPE,
    TOKEN,
)
from integrations.companies.diagnosis.checks.message import MESSAGE
from integrations.companies.diagnosis.checks.network import CERTIFICATE, CLOCK, IP, NETWORK, PROXY
from integrations.companies.diagnosis.findings import Check

_ORDERED = (
    *(NETWORK, PROXY, CERTIFICATE, CLOCK),
    *(TOKEN, IP, AGENTID, APP, SCOPE),
    *(DOMAIN, HOME_PAGE, VERIFICATION_FILE, OWNERSHIP, CALLBACK),
    *(CONTACTS, ASSISTANT, DEPARTMENTS, MESSAGE),
)
CHECKS: dict[str, Check] = {check.name: check for check in _ORDERED}
# "Run all" leaves out what reaches a person.
ALL_BUT_MESSAGE = tuple(name for name in CHECKS if name != MESSAGE.name)
# Without these nobody is reached; with sign-in nobody gets in without the other two.
ESSENTIAL = ("token", "ip", "agentid", "app", "scope")
ESSENTIAL_TO_SIGN_IN = ("domain", "home_page")
