"""Services of companies: saving, enabling, disabling, new credentials, the steps of setting up, trusted IPs."""

from __future__ import annotations

import ipaddress
import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Max, TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from integrations.clients.errors import IntegrationError, UnreadableSecretError
from integrations.companies import links
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.app import judge_agent, judge_agent_refusal
from integrations.companies.diagnosis.findings import Finding, Status, judge_error, wrong
from integrations.core import hooks, http
from integrations.core.background import database_now
from integrations.core.client_factory import forget_tokens, token_store, trial_client
from integrations.core.validators import remove_invisible
from integrations.jobs import requests
from integrations.jobs.registry import RunAgain, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import CheckRun, Corp, CredentialsState, SiteAddress

if TYPE_CHECKING:
    from collections.abc import Collection

    from integrations.models.fields import Person


# The fields that the checks of a diagnosis depend on.
CONNECTION_FIELDS = frozenset(
    {"corpid", "agentid", "secret", "contacts_secret", "api_base_url", "proxy_url", "ca_bundle"}
)


def save_corp(*, corp: Corp, changed_fields: Collection[str]) -> bool:
    """Save a new corp, or the changed fields of one. Return whether its connection has to be tested (again).

    The very first corp lets administrators use their rights after a sign-in with WeCom; further ones do not. A change
    of the connection drops the shared token and ends a pause after a wrong Secret. Raises ValueError for another CorpId
    after the first enabling, because every account would then belong to other people.
    """
    if corp._state.adding:
        corp.admin_rights_enabled |= not Corp.objects.exists()
        corp.save()
        return True
    if corp.first_enabled_at is not None and "corpid" in changed_fields:
        raise ValueError("the CorpId of a corp that was enabled once cannot change")
    is_connection_changed = not CONNECTION_FIELDS.isdisjoint(changed_fields)
    if not is_connection_changed:
        corp.save(update_fields=list(changed_fields))
        return False
    before = Corp.objects.values_list("corpid", "agentid").get(pk=corp.pk)
    corp.connection_version = F("connection_version") + 1  # concurrent saves must not lose an increment
    corp.save(update_fields=[*changed_fields, "connection_version"])
    corp.refresh_from_db(fields=["connection_version"])
    # None: the contacts assistant, which has no agent.
    applications = {before, (before[0], None), (corp.corpid, corp.agentid), (corp.corpid, None)}
    transaction.on_commit(lambda: forget_tokens(token_store(), applications))
    # By the database's clock, because the next attempt compares with it.
    transaction.on_commit(lambda: hooks.calls().probe_company_at_once(corp.pk, database_now()))
    return True


def find_reasons_against_enabling(corp: Corp, *, now: datetime) -> list[str]:
    """Return why `corp` cannot be enabled yet, as sentences; empty if it can."""
    reasons = checks.explain_not_passed(checks.list_essential_checks(corp), checks.find_latest_runs(corp), corp, now)
    address = corp.find_site_address()
    is_trial = corp.is_sandbox and settings.ENVIRONMENT != "production"
    if address.is_local and not is_trial:
        words = _("The site address is still %(url)s, which only this machine reaches. Enter your real one first.")
        reasons.append(words % {"url": address.url})
    return reasons


def enable_corp(*, corp: Corp, by: Person, now: datetime, seen_version: int | None = None) -> list[str]:
    """Let the corp's people sign in and receive messages. Return the reasons against it, as sentences; empty if done.

    `seen_version`: the corp's connection_version that `by` saw; if it changed since, the corp is not enabled.
    Before the first enabling, somebody who is no superuser may have chosen the app that identifies people. So unless a
    superuser enables the corp for the first time, its sign-in carries no rights beyond the corp.
    """
    if reasons := find_reasons_against_enabling(corp, now=now):
        return reasons
    outdated = [_("Somebody changed the connection in the meantime. Test it again.")]
    if seen_version is not None and seen_version != corp.connection_version:
        return outdated
    # The columns that the reasons depend on: trusted domain and home page derive from the last two.
    seen = ("connection_version", "sign_in_enabled", "site_address_id", "domain_id")
    unchanged = Corp.objects.filter(pk=corp.pk, **{name: getattr(corp, name) for name in seen})
    with transaction.atomic():
        # This locks the row and changes nothing. It finds no row if one of these columns was changed.
        if not unchanged.update(connection_version=F("connection_version")):
            return outdated
        corp.refresh_from_db(fields=["is_enabled", "first_enabled_at", "admin_rights_enabled"])
        if corp.first_enabled_at is None:
            corp.admin_rights_enabled &= bool(getattr(by, "is_superuser", False))
        corp.is_enabled, corp.first_enabled_at = True, corp.first_enabled_at or now
        corp.save(update_fields=["is_enabled", "first_enabled_at", "admin_rights_enabled"])
    return []


def disable_corp(*, corp: Corp) -> None:
    """Stop sign-in and pushes of the corp. Deliveries under way are finished; pending ones wait."""
    corp.is_enabled = False
    corp.save(update_fields=["is_enabled"])


def save_site_address(*, address: SiteAddress) -> None:
    """Save an address. Every process accepts it at once."""
    address.save()
    http.clear_caches()


def find_link_changes(*, address: SiteAddress, url: str) -> list[dict[str, Any]]:
    """Return, for each corp with this address, its domain and home page in WeCom's console, before and after `url` is
    saved for the address."""
    changes = []
    for corp in Corp.objects.at_address(address):
        change: dict[str, Any] = {"corp": corp}
        for when, site in (("before", address), ("after", SiteAddress(url=url))):
            corp.site_address = site
            domain, home_page = links.find_trusted_domain(corp), links.build_home_page_link(corp)
            change |= {f"domain_{when}": domain, f"home_page_{when}": home_page}
        changes.append(change)
    return changes


logger = logging.getLogger(__name__)
CONFIRM = "corp.credentials"
# After a failure that may pass, such as a network that is down or a missing trusted IP: the pause between two tries,
# and the time until the last one.
TRY_AGAIN_AFTER = timedelta(minutes=1)
TRIED_FOR = timedelta(hours=24)
STAGED_COLUMNS = ("staged_agentid", "staged_secret", "staged_by", "staged_state", "staged_at", "staged_finding")
NOT_IN_FORCE = (CredentialsState.WAITING, CredentialsState.REFUSED)


def stage_credentials(*, corp: Corp, agentid: int, secret: str, by: Person, now: datetime) -> None:
    """Store new credentials of `corp` in place of earlier waiting ones, and request that WeCom confirms them."""
    corp.staged_agentid, corp.staged_secret, corp.staged_by = agentid, secret, str(by)[:255]
    corp.staged_state, corp.staged_at, corp.staged_finding = CredentialsState.WAITING, now, {}
    corp.save(update_fields=STAGED_COLUMNS)
    requests.request_job(CONFIRM, key=corp.pk, subject=corp.name, corp=corp, by=by, now=now)


def discard_credentials(*, corp: Corp) -> bool:
    """Delete credentials that are not in force. Return False if there are none."""
    with transaction.atomic():
        rows = Corp.objects.select_for_update(no_key=True, of=("self",)).filter(pk=corp.pk)
        row = rows.filter(staged_state__in=NOT_IN_FORCE).first()
        if row is not None:
            row.staged_agentid, row.staged_secret, row.staged_state, row.staged_finding = None, "", "", {}
            row.save(update_fields=STAGED_COLUMNS)
    return row is not None


def check_credentials_again(*, corp: Corp, by: Person, now: datetime) -> bool:
    """Request another check of the new credentials, for up to another day. Return False if there are none."""
    rows = Corp.objects.filter(pk=corp.pk, staged_state__in=NOT_IN_FORCE)
    if not rows.update(staged_state=CredentialsState.WAITING, staged_at=now, staged_finding={}):
        return False
    requests.request_job(CONFIRM, key=corp.pk, subject=corp.name, corp=corp, by=by, now=now)
    return True


@job_kind(
    CONFIRM,
    label=gettext_lazy("Confirmation of new credentials"),
    explain=lambda _job: "",  # the company's page shows WeCom's answer; the job itself does not fail
    see="integrations.change_corp",
    retry="integrations.change_corp",
)
def confirm_credentials(run: JobRun) -> dict[str, Any] | RunAgain:
    """Ask WeCom whether the new credentials of a company are right; if so, use them and check the connection."""
    # The present Secret is not loaded: it may be unreadable, which is a reason to replace it.
    waiting = Corp.objects.defer("secret").filter(staged_state=CredentialsState.WAITING)
    corp = waiting.filter(pk=int(run.job.key or 0)).first()
    if corp is None or corp.staged_at is None:
        return {}
    finding, now = _judge_credentials(corp), run.clock()
    # Nothing is written if the credentials were replaced or discarded while WeCom was asked.
    unchanged = waiting.filter(pk=corp.pk, staged_at=corp.staged_at)
    if finding.status == Status.OK:
        with transaction.atomic():
            settled = {"staged_secret": "", "staged_finding": {}, "in_force_since": now}
            is_in_force = unchanged.update(staged_state=CredentialsState.IN_FORCE, **settled)
            if is_in_force:
                corp.agentid, corp.secret = corp.staged_agentid or 0, corp.staged_secret
                save_corp(corp=corp, changed_fields={"agentid", "secret"})
        if is_in_force:
            logger.info("new credentials corp=%s in force", corp.pk)
            checks.request_checks(corp=corp, checks=None, now=run.clock())
        return {}
    is_repeated = finding.heals and now < corp.staged_at + TRIED_FOR
    answer = {"problem": finding.problem, "facts": dict(finding.facts)}
    unchanged.update(
        staged_state=CredentialsState.WAITING if is_repeated else CredentialsState.REFUSED,
        staged_finding={**answer, "errcode": finding.errcode, "caller_ip": finding.caller_ip},
    )
    logger.info("new credentials corp=%s problem=%s code=%s", corp.pk, finding.problem, finding.errcode)
    return RunAgain(now + TRY_AGAIN_AFTER) if is_repeated else {}


def _judge_credentials(corp: Corp) -> Finding:
    agentid = corp.staged_agentid or 0
    twins = Corp.objects.filter(corpid=corp.corpid, agentid=agentid).exclude(pk=corp.pk)
    if twins.exists():
        return wrong("connected", heals=False)
    try:
        client = trial_client(corp, agentid=agentid, secret=corp.staged_secret)
    except UnreadableSecretError as error:
        return judge_error(error)
    try:
        agent = client.agent_get()
    except IntegrationError as error:
        return judge_agent_refusal(client, error)
    return judge_agent(agent, agentid=agentid)


class StepState(TextChoices):
    """The state of a step of setting up. `label`: the word on the page; `tone`: its colour."""

    DONE = "done", pgettext_lazy("state", "done")
    TO_DO = "to_do", pgettext_lazy("state", "waiting")
    WRONG = "wrong", pgettext_lazy("state", "failed")
    OPTIONAL = "optional", pgettext_lazy("state", "done")
    RUNNING = "running", pgettext_lazy("state", "in progress")

    @property
    def is_open(self) -> bool:
        return self not in {StepState.DONE, StepState.OPTIONAL}

    @property
    def tone(self) -> str:
        return {StepState.WRONG: "bad", StepState.TO_DO: "next", StepState.RUNNING: "busy"}.get(self, "good")


@dataclass(frozen=True, slots=True)
class SetupStep:
    """A step of setting up. `anchor`: its place on the corp's page. `is_next`: it is the first one that is not done."""

    number: int
    anchor: str
    title: str
    state: StepState
    is_next: bool


def list_steps(corp: Corp) -> list[SetupStep]:
    """Return every step with its state, by the saved values, the last checks and the last real calls."""
    runs, refusal = _find_current_runs(corp), checks.find_refusal(corp)
    wrong_anchors = set() if refusal is None else {refusal.anchor, "diagnosis"}
    in_console = ("domain", "home_page") if corp.sign_in_enabled else ("home_page",)
    # The full test is done if every essential check passed and no other check is wrong.
    full_test = _judge_checks(runs, *runs)
    if full_test not in {StepState.WRONG, StepState.RUNNING}:
        full_test = _judge_checks(runs, *checks.list_essential_checks(corp))
    credentials = _judge_checks(runs, "token")
    if credentials == StepState.TO_DO and _judge_checks(runs, "network") == StepState.WRONG:
        credentials = StepState.WRONG  # the network blocked the token
    file_state = _judge_checks(runs, "verification_file")
    if _judge_checks(runs, "domain") == StepState.DONE:  # then WeCom has found the file
        file_state = StepState.DONE
    elif file_state == StepState.TO_DO and not corp.sign_in_enabled:
        file_state = StepState.OPTIONAL
    found = [
        ("credentials", _("Credentials"), credentials),
        ("verification", _("Verification file"), file_state),
        ("console", _("Domain, home page, callback"), _judge_checks(runs, *in_console)),
        ("trusted_ip", _("Trusted IP"), _judge_checks(runs, "ip")),
        ("diagnosis", _("Full test"), full_test),
        ("enable", _("Enable"), StepState.DONE if corp.is_enabled else StepState.TO_DO),
    ]
    found = [(anchor, title, StepState.WRONG if anchor in wrong_anchors else state) for anchor, title, state in found]
    open_ones = [anchor for anchor, _title, state in found if state.is_open]
    return [
        SetupStep(number, anchor, title, state, is_next=open_ones[:1] == [anchor])
        for number, (anchor, title, state) in enumerate(found, start=1)
    ]


def judge_console_values(corp: Corp) -> dict[str, StepState]:
    """Return the states of the checks of our trusted domain and home page in WeCom, by their names.

    The callback domain is left out, because WeCom shows it only in its console.
    """
    states = {name: _judge_checks(_find_current_runs(corp), name) for name in ("domain", "home_page")}
    if states["domain"] == StepState.TO_DO and not corp.sign_in_enabled:
        states["domain"] = StepState.OPTIONAL
    return states


def _find_current_runs(corp: Corp) -> dict[str, CheckRun]:
    """Return the newest run of each check, if it checked the values that are saved now."""
    return {name: run for name, run in checks.find_latest_runs(corp).items() if checks.is_current(run, corp)}


def _judge_checks(runs: dict[str, CheckRun], *names: str) -> StepState:
    """Return the worst state of several checks. A check that another one blocks counts as one still to do."""
    known = [runs[name] for name in names if name in runs]
    if any(run.status == Status.WRONG for run in known):
        return StepState.WRONG
    if any(run.is_unfinished for run in known):
        return StepState.RUNNING
    is_done = len(known) == len(names) and all(run.status in checks.PASSED for run in known)
    return StepState.DONE if is_done else StepState.TO_DO


IP_SEPARATOR = ";"
# WeCom takes at most 120 addresses for an app (errcode 85006 for more).
IPS_AT_MOST = 120
_DOCUMENTATION = [
    ipaddress.ip_network(one) for one in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
_IP_SEPARATORS = re.compile(r"[\s,，、;；]+")


def parse_ip_addresses(text: str) -> list[str]:
    """Parse addresses separated by semicolons, commas (Western or Chinese), spaces or lines, each once.

    Raises ValidationError, with a sentence, for names and for addresses that are not public: WeCom never sees them.
    """
    addresses: list[str] = []
    for word in filter(None, map(remove_invisible, _IP_SEPARATORS.split(text))):
        try:
            address = ipaddress.ip_address(word)
            if "%" in word:
                raise ValueError("an address with the name of a network card")
        except ValueError:
            raise ValidationError(
                _("“%(word)s” is not an IP address: four numbers with dots, such as 203.0.113.9."),
                code="address",
                params={"word": word[:64]},
            ) from None
        address = getattr(address, "ipv4_mapped", None) or address
        # Addresses for documentation are allowed, because our own example is one.
        is_example = any(address in network for network in _DOCUMENTATION if network.version == address.version)
        if not (address.is_global or is_example) or address.is_multicast:
            raise ValidationError(
                _(
                    "%(word)s is an address inside your network. WeCom sees the public one: ask your network "
                    "administrator."
                ),
                code="private",
                params={"word": word},
            )
        addresses.append(str(address))
    addresses = list(dict.fromkeys(addresses))
    if len(addresses) > IPS_AT_MOST:
        raise ValidationError(
            _("WeCom takes at most %(count)s trusted IPs."), code="many", params={"count": IPS_AT_MOST}
        )
    return addresses


def list_known_ips(corp: Corp) -> list[dict[str, Any]]:
    """Return every known address of this server, first the last one that WeCom reported. `is_named`: whether WeCom
    reported it (`seen_at`: when, if known); otherwise an administrator noted it."""
    refused = CheckRun.objects.filter(corp=corp, caller_ip__isnull=False).order_by("caller_ip")
    newest = dict(refused.values_list("caller_ip").annotate(Max("finished_at")))
    seen = {ip: at for at, ip in sorted(((at, ip) for ip, at in newest.items() if at), reverse=True)}
    # A check that passed after earlier refusals still has the refused addresses among its facts.
    facts = CheckRun.objects.filter(corp=corp, check_name="ip").values_list("facts", flat=True).first()
    named = dict.fromkeys([*seen, *(facts or {}).get("addresses", [])])
    known = dict.fromkeys([*named, *corp.noted_ips])
    return [{"address": ip, "seen_at": seen.get(ip), "is_named": ip in named} for ip in known]
