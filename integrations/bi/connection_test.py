"""Tests the BI's connection in the background, step by step, and keeps each finding.

What the BI answers to a wrong token is not documented, so a token that is not refused is not called accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from integrations.bi import services
from integrations.bi import sso as bi_sso
from integrations.clients.errors import ConfigurationError, IntegrationError
from integrations.clients.guandata import sso
from integrations.clients.guandata.client import GuandataClient
from integrations.clients.guandata.urls import page_for
from integrations.clients.network import Beginning, moment_of
from integrations.core.client_factory import testing_guandata_client
from integrations.models import BiConnection
from integrations.models.bi import THE_ONE

if TYPE_CHECKING:
    from integrations.models.scoping import Person

Clock = Callable[[], datetime]
OK, UNCLEAR, WARNING, WRONG = "ok", "unclear", "warning", "wrong"
# Parts of an address to which a BI sends who is not signed in.
_SIGN_IN_WORDS = ("login", "signin", "sign-in", "passport")
_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class Finding:
    """`step`: address, token, api or pages. `outcome`: which sentence explains it (integrations.bi.explanations)."""

    step: str
    status: str
    outcome: str
    facts: dict[str, Any] = field(default_factory=dict)


def request(*, person: Person, now: datetime) -> None:
    """Note that `person` asks for a test, and as whom that person enters the BI: the token is tried for them."""
    saved = services.ensure()
    try:
        found = bi_sso.external_id(saved, person)
    except bi_sso.CannotEnter:
        found = ""
    saved.check_requested_at, saved.checked_at, saved.check_as = now, None, found
    saved.save(update_fields=["check_requested_at", "checked_at", "check_as"])


def give_up_unqueued(*, clock: Clock) -> None:
    """Say so where the test could not be handed to the background."""
    _keep([Finding("address", WRONG, "not-queued")], clock=clock)


def carry_out(*, clock: Clock) -> None:
    """Take every step and keep what was found, with the version of the connection that it is about. No token is tried
    where nobody has begun with single sign-on."""
    saved = BiConnection.objects.filter(pk=THE_ONE).first()
    if saved is None or saved.checked_at is not None:
        return
    findings = [_address(saved, clock)]
    if findings[0].status != WRONG:
        is_signed_on = saved.has_key or saved.is_enabled
        findings += [*([_token(saved, saved.check_as, clock)] if is_signed_on else []), *_api(saved)]
    _keep(findings, clock=clock, version=saved.connection_version)


def _keep(findings: list[Finding], *, clock: Clock, version: int = 0) -> None:
    found = [asdict(finding) for finding in findings]
    BiConnection.objects.filter(pk=THE_ONE).update(checked_at=clock(), checked_version=version, check_results=found)


def _address(saved: BiConnection, clock: Clock) -> Finding:
    """Whether the BI answers, over a certificate that is trusted, and has the same time as we."""
    if not saved.base_url:
        return Finding("address", WRONG, "missing")
    answer = _opened_page(saved, "/")
    if isinstance(answer, Finding):
        return answer
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Finding("address", WARNING, "server-error", {"status": answer.status})
    there = moment_of(answer.headers.get("Date", ""))
    apart = 0 if there is None else round(abs((clock() - there).total_seconds()))
    if apart >= saved.token_seconds:
        return Finding("address", WRONG, "clocks", {"seconds": apart, "life": saved.token_seconds})
    return Finding("address", OK, "reached", {"status": answer.status})


def _token(saved: BiConnection, external_id: str, clock: Clock) -> Finding:
    """What the BI says to a token for the person who tests."""
    if not external_id:
        return Finding("token", WRONG, bi_sso.Obstacle.NO_EXTERNAL_ID)
    try:
        key = bi_sso.private_key(saved)
    except bi_sso.CannotEnter as refusal:
        return Finding("token", WRONG, refusal.obstacle)
    claims = sso.Claims(external_id, int(clock().timestamp()), saved.token_seconds, saved.domain_id)
    home = page_for("", "", forms=bi_sso.forms_of(saved), on_phone=False)
    page = sso.entrance(base_url="", page=home, provider=saved.provider, token=sso.sealed(claims, key))
    answer = _opened_page(saved, page)
    if isinstance(answer, Finding):
        return Finding("token", WARNING, "no-answer", answer.facts)
    known = {"status": answer.status, "as": external_id}
    if answer.status in _REFUSALS or _leads_to_sign_in(answer):
        return Finding("token", WRONG, "refused", known)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return Finding("token", WRONG, "not-taken", known)
    return Finding("token", UNCLEAR, "not-refused", known)


def _leads_to_sign_in(answer: Beginning) -> bool:
    path = urlsplit(answer.headers.get("Location", "")).path.lower()
    return any(word in path for word in _SIGN_IN_WORDS)


def _api(saved: BiConnection) -> list[Finding]:
    """The two credentials of the public API, where they are set."""
    client, found = testing_guandata_client(saved), []
    if saved.api_login and saved.api_password:
        found.append(_called("api", partial(_signed_in, client)))
    if saved.app_token:
        found.append(_called("pages", partial(_listed, client)))
    return found


def _listed(client: GuandataClient) -> dict[str, Any]:
    return {"count": len(client.page_list())}


def _signed_in(client: GuandataClient) -> dict[str, Any]:
    client.fetch_token()
    return {}


def _called(step: str, call: Callable[[], dict[str, Any]]) -> Finding:
    try:
        return Finding(step, OK, "accepted", call())
    except IntegrationError as error:
        return Finding(step, WRONG, "refused", {"message": error.message})


def _opened_page(saved: BiConnection, page: str) -> Beginning | Finding:
    """How the BI's answer to `page` begins, or why there is none."""
    try:
        return testing_guandata_client(saved).open_page(page)
    except IntegrationError as error:
        outcome = "not-usable" if isinstance(error, ConfigurationError) else "unreachable"
        return Finding("address", WRONG, outcome, {"reason": error.message})
