"""The checks, in the order in which their problems are best solved."""

from __future__ import annotations

from integrations.companies.diagnosis.checks import (
    agentid,
    app,
    assistant,
    callback,
    certificate,
    clock,
    contacts,
    departments,
    domain,
    home_page,
    ip,
    message,
    network,
    ownership,
    proxy,
    scope,
    token,
    verification_file,
)
from integrations.companies.diagnosis.findings import Check

ORDERED = (
    *(network.CHECK, proxy.CHECK, certificate.CHECK, clock.CHECK),
    *(token.CHECK, ip.CHECK, agentid.CHECK, app.CHECK, scope.CHECK),
    *(domain.CHECK, home_page.CHECK, verification_file.CHECK, ownership.CHECK, callback.CHECK),
    *(contacts.CHECK, assistant.CHECK, departments.CHECK, message.CHECK),
)
CHECKS: dict[str, Check] = {check.name: check for check in ORDERED}
# "Run all" leaves out what reaches a person.
ALL_BUT_MESSAGE = tuple(name for name in CHECKS if name != message.NAME)
# Without these nobody is reached; with sign-in nobody gets in without the other two.
ESSENTIAL = ("token", "ip", "agentid", "app", "scope")
ESSENTIAL_TO_SIGN_IN = ("domain", "home_page")
