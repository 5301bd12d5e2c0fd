"""The checks of a company: requesting them, executing them in the background, and using their findings: as reasons
against enabling, for a company's state, and in the text for support."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from django.db import transaction
from django.db.models import Min, Q, QuerySet, prefetch_related_objects
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from integrations.clients.errors import Explanation, IntegrationError, TransientError
from integrations.clients.transport import total_deadline
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.builders import check_bytes, check_userids
from integrations.companies.diagnosis import app, console, network
from integrations.companies.diagnosis.findings import (
    IP_REFUSED,
    MESSAGE,
    OTHER_APP,
    SHARED_EXPLANATIONS,
    Check,
    Finding,
    Question,
    Status,
    judge_error,
    skip,
    warning,
    wrong,
)
from integrations.core import hooks
from integrations.core.client_factory import token_store
from integrations.core.hooks import CallsRefused
from integrations.core.sentences import translate_explanation
from integrations.jobs import requests
from integrations.jobs.registry import RunAgain, job_kind
from integrations.jobs.runner import JobRun
from integrations.models import CheckRun, Corp
from integrations.models.fields import EncryptedTextField, Person, Unreadable

_ORDERED = (
    *(network.check_network, network.check_proxy, network.check_certificate, network.check_clock),
    *(app.check_token, network.check_ip, app.check_agentid, app.check_app, app.check_scope),
    *(console.check_domain, console.check_home_page, console.check_verification_files),
    *(console.check_ownership, console.check_callback),
    *(app.check_contacts, app.check_assistant, app.check_departments, app.send_test_message),
)
CHECKS: dict[str, Check] = {check.name: check for check in _ORDERED}
# "Run all" leaves out the message, which reaches a person.
ALL_BUT_MESSAGE = tuple(name for name in CHECKS if name != MESSAGE)
# BLOCKED_BY maps a check to checks that are not tried while it is wrong: they would fail for the same reason.
_CHECKS_OF_APP = ("app", "scope", "domain", "home_page")
_CHECKS_WITH_CALLS = ("agentid", *_CHECKS_OF_APP, "contacts", "departments", MESSAGE)
BLOCKED_BY = {
    "network": ("token", "ip", *_CHECKS_WITH_CALLS),
    "token": ("ip", *_CHECKS_WITH_CALLS),
    "ip": _CHECKS_WITH_CALLS,
    "agentid": _CHECKS_OF_APP,
}
# Without these no message is sent; sign-in also needs the other two.
ESSENTIAL = ("token", "ip", "agentid", "app", "scope")
ESSENTIAL_TO_SIGN_IN = ("domain", "home_page")
PASSED = frozenset({Status.OK, Status.WARNING})
# Older results do not count for enabling: while a company was disabled for months, WeCom's settings may have changed.
RESULTS_COUNT_FOR = timedelta(days=1)


def find_latest_runs(corp: Corp) -> dict[str, CheckRun]:
    """Return the last run of each check that was ever requested, in the order of the diagnosis."""
    found = {run.check_name: run for run in corp.check_runs.all()}
    return {name: found[name] for name in CHECKS if name in found}


def is_current(run: CheckRun, corp: Corp) -> bool:
    """Return whether `run` checked the present credentials, address and links of `corp`."""
    if run.connection_version != corp.connection_version:
        return False
    return run.check_name == MESSAGE or run.subject == CHECKS[run.check_name].subject(corp)


def explain_run(run: CheckRun) -> Explanation:
    """Explain a run's result in the active language; empty while it is not finished."""
    if run.is_unfinished:
        return Explanation("")
    return explain_finding(run.check_name, run.problem, run.errcode, run.facts)


def explain_finding(check_name: str, problem: str, errcode: int | None, found: Mapping[str, Any]) -> Explanation:
    """Explain a check's finding in the active language. `found`: its facts."""
    facts = defaultdict[str, Any](lambda: "?", found)  # for a fact that an earlier version did not store
    if problem == "blocked":
        facts["by_label"] = label_check(facts["by"])
    if "until" in facts:
        facts["until"] = f"{timezone.localtime(datetime.fromisoformat(facts['until'])):%Y-%m-%d %H:%M}"
    check = CHECKS[check_name]
    own = check.explanations.get(problem) or SHARED_EXPLANATIONS.get(problem)
    if own is not None:
        return translate_explanation(replace(own, guide=check.guide), facts)
    if errcode is None:
        return Explanation("")
    operation = "gettoken" if check_name == "token" else facts.get("operation", "")
    return translate_explanation(errcodes.explain(errcode, operation=operation), facts)


def label_check(name: str) -> str:
    """Return a check's name in the active language."""
    return _(CHECKS[name].label) if name in CHECKS else name


# --- Enabling a company -----------------------------------------------------------------------------------------------


def list_essential_checks(corp: Corp) -> tuple[str, ...]:
    """Name the checks that must have passed; if sign-in is on, also the checks that sign-in needs."""
    return (*ESSENTIAL, *ESSENTIAL_TO_SIGN_IN) if corp.sign_in_enabled else ESSENTIAL


def find_reasons_against_sign_in(corp: Corp, *, now: datetime) -> list[str]:
    """Return why sign-in cannot be switched on yet for an enabled corp (see explain_not_passed).

    The check compared the home page with the plain login address; here it is compared with the link of sign-in.
    """
    runs = find_latest_runs(corp)
    run = runs.get("home_page")
    if run is not None and "theirs" in run.facts and is_current(run, corp):
        with_sign_in = copy(corp)
        with_sign_in.sign_in_enabled = True
        finding = console.judge_home_page(with_sign_in, run.facts["theirs"])
        run.status, run.problem, run.facts = finding.status, finding.problem, dict(finding.facts)
    return explain_not_passed(ESSENTIAL_TO_SIGN_IN, runs, corp, now)


def explain_not_passed(names: Sequence[str], runs: dict[str, CheckRun], corp: Corp, now: datetime) -> list[str]:
    """Return why these checks do not count as passed, as sentences in the active language.

    Only results for the present values count, and none older than RESULTS_COUNT_FOR.
    """
    missing = _("Not checked, or not since the last change: %(checks)s. Run the diagnosis first.")
    old = _("Checked more than a day ago: %(checks)s. Run the diagnosis again.")
    unfinished = _("Being checked at the moment: %(checks)s. Wait for the result.")
    found: dict[str, list[str]] = {missing: [], old: [], unfinished: []}
    sentences: list[str] = []
    for name in names:
        run = runs.get(name)
        if run is not None and run.is_unfinished:
            found[unfinished].append(label_check(name))
        elif run is None or not is_current(run, corp):
            found[missing].append(label_check(name))
        elif run.status not in PASSED:
            sentences.append(_("%(check)s: %(reason)s") % {"check": label_check(name), "reason": explain_run(run).what})
        elif run.finished_at is None or now - run.finished_at > RESULTS_COUNT_FOR:
            found[old].append(label_check(name))
    return [*(text % {"checks": _(", ").join(labels)} for text, labels in found.items() if labels), *sentences]


# --- Summaries of companies -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Health:
    """A corp's last diagnosis in brief. `tone`: good, warn, bad, busy or quiet; `checked_at`: of the newest result."""

    tone: str
    words: str
    checked_at: datetime | None


def sum_up_health(runs: Iterable[CheckRun], *, version: int) -> Health:
    """Sum up the newest run of each check of a corp with this connection version."""
    runs = [run for run in runs if run.check_name != MESSAGE]
    current = [run for run in runs if run.connection_version == version]
    if runs and not current:
        return Health("warn", _("credentials changed, not checked"), None)
    # A blocked check counts as a warning, even if the check that blocked it is in order by now.
    counts = Counter(
        Status.WARNING if run.problem == "blocked" and run.status == Status.SKIPPED else run.status for run in current
    )
    if wrong_count := counts[Status.WRONG]:
        text = ngettext("%(count)s check wrong", "%(count)s checks wrong", wrong_count)
        tone, words = "bad", text % {"count": wrong_count}
    elif any(run.is_unfinished for run in current):
        tone, words = "busy", _("being checked")
    elif warning_count := counts[Status.WARNING]:
        text = ngettext("%(count)s check to be looked at", "%(count)s checks to be looked at", warning_count)
        tone, words = "warn", text % {"count": warning_count}
    else:
        tone, words = ("good", _("in order")) if counts[Status.OK] else ("quiet", _("not checked yet"))
    checked_at = max((run.finished_at for run in current if run.finished_at is not None), default=None)
    return Health(tone, words, checked_at)


# --- The state of a company by its last real calls, which count more than an earlier diagnosis ------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why WeCom refuses a corp's calls, in the active language. `line`: cause, waiting recipients and
    remedy; `sentence`: the line after the corp's name; `anchor`: the place on the corp's page to fix it."""

    cause: str
    waiting: str
    remedy: str
    line: str
    sentence: str
    anchor: str


def find_refusals(corps: Iterable[Corp]) -> dict[int, Refusal]:
    """Map keys of corps to the refusal of their last real calls, or to the reason why they get no token."""
    now, known = timezone.now(), {corp.pk: corp for corp in corps}
    found: dict[int, CallsRefused] = {}
    with suppress(TransientError):  # around the loop: a store that is down is asked once, not for each corp
        for corp in known.values():
            pause = token_store().find_pause(corp.corpid, corp.agentid)
            if pause is not None and pause.code is not None:
                found[corp.pk] = CallsRefused(pause.code, until=now + timedelta(seconds=pause.remaining_seconds))
    found |= hooks.calls().find_refused([corp for corp in known.values() if corp.is_enabled], now)
    return {pk: _describe_refusal(known[pk], one, now) for pk, one in found.items()}


def find_refusal(corp: Corp) -> Refusal | None:
    """Return the refusal of the corp's last real calls, if any."""
    return corp.refusal if hasattr(corp, "refusal") else find_refusals([corp]).get(corp.pk)  # set by fetch_states


def fetch_states(corps: Sequence[Corp]) -> None:
    """Load each corp's `check_runs`, and set `refusal` (by its last real calls) and `health` (by its last diagnosis).
    Runs a fixed number of queries."""
    if all(hasattr(corp, "health") for corp in corps):
        return
    found = find_refusals(corps)
    prefetch_related_objects(corps, "check_runs")
    for known in corps:
        corp: Any = known
        corp.refusal = found.get(corp.pk)
        corp.health = sum_up_health(corp.check_runs.all(), version=corp.connection_version)


def _describe_refusal(corp: Corp, refused: CallsRefused, now: datetime) -> Refusal:
    code = refused.errcode
    if refused.until is not None and code == errcodes.RATE_LIMITED:
        cause = _("WeCom gives no token until %(time)s") % {"time": _format_time(refused.until, now)}
        remedy, anchor = "", "diagnosis"
    elif code is None:
        cause, remedy, anchor = _("WeCom does not answer"), _("test the connection"), "credentials"
    elif code in errcodes.SECRET_REFUSED | OTHER_APP:
        cause, remedy, anchor = _("credentials refused"), _("update the Secret"), "credentials"
    elif code in IP_REFUSED:
        cause, remedy, anchor = _("server address refused"), _("enter it as a trusted IP"), "trusted_ip"
    else:
        cause, remedy, anchor = _("calls refused (%(code)s)") % {"code": code}, _("run the diagnosis"), "diagnosis"
    waiting = ""  # a refusal of tokens has no `since`, and ends by itself at `until`
    if refused.since is None and remedy and refused.until is not None:
        waiting = _("not asked again before %(time)s") % {"time": _format_time(refused.until, now)}
    elif refused.since is not None:
        sentence = ngettext(
            "%(count)s recipient waits since %(time)s",
            "%(count)s recipients wait since %(time)s",
            refused.waiting_count,
        )
        sentence = sentence if refused.waiting_count else _("since %(time)s")
        waiting = sentence % {"count": f"{refused.waiting_count:,}", "time": _format_time(refused.since, now)}
    line = " · ".join(filter(None, [cause, waiting, remedy]))
    return Refusal(cause, waiting, remedy, line, _("“%(corp)s”: %(line)s") % {"corp": corp, "line": line}, anchor)


def _format_time(moment: datetime, now: datetime) -> str:
    """Return the time, with the date if it is another day."""
    here = timezone.localtime(moment)
    return f"{here:%H:%M}" if here.date() == timezone.localtime(now).date() else f"{here:%Y-%m-%d %H:%M}"


def list_refusal_sentences(corp_ids: Iterable[int] | None, *, seen_by: Person) -> list[str]:
    """Return a sentence for each of these companies (None: all) whose calls are refused, if the person may see it."""
    corps = Corp.objects.visible_to(seen_by).only("name", "corpid", "agentid", "is_enabled")
    found = corps if corp_ids is None else corps.filter(pk__in=list(corp_ids))
    return [refusal.sentence for refusal in find_refusals(found).values()]


# --- The text for support ---------------------------------------------------------------------------------------------

# Shorter values are not replaced: they are no real secrets, and may be part of ordinary words.
_SECRET_AT_LEAST = 4


def export_text(corp: Corp, *, now: datetime) -> str:
    """Return all facts about the corp's connection for support, in the active language and without a secret."""
    checks = []
    for name, run in {**dict.fromkeys(CHECKS), **find_latest_runs(corp)}.items():
        row: dict[str, Any] = {"name": name, "label": label_check(name), "run": run}
        if run is not None:
            row |= {"is_current": is_current(run, corp), "sentences": explain_run(run).sentences}
            row["technical"] = f"check {name}" if run.is_unfinished else write_technical_line(run)
        checks.append(row)
    text: str = render_to_string("integrations/diagnosis.txt", {"corp": corp, "now": now, "checks": checks})
    # These facts are no secrets, but the stored answers of other servers may contain one.
    for secret in sorted(_read_secrets(corp), key=len, reverse=True):
        for spelling in {secret, quote(secret, safe="")}:
            text = text.replace(spelling, "***")
    return text


def write_technical_line(run: CheckRun) -> str:
    """Return a line for support: codes, and the text of the other system."""
    parts = [f"check {run.check_name}"]
    parts += [f"problem {run.problem}"] if run.problem else []
    parts += [f"errcode {run.errcode}"] if run.errcode is not None else []
    parts += [run.detail] if run.detail else []
    parts += [f"hint {run.hint}"] if run.hint else []
    parts += [f"ip {run.caller_ip}"] if run.caller_ip else []
    return "; ".join(parts)


def _read_secrets(corp: Corp) -> set[str]:
    fresh = Corp.objects.get(pk=corp.pk)  # `corp` may have been loaded without its secrets
    values = [getattr(fresh, column.name) for column in fresh._meta.fields if isinstance(column, EncryptedTextField)]
    found = {value for value in values if not isinstance(value, Unreadable)}
    if not isinstance(fresh.proxy_url, Unreadable):
        found.add(urlsplit(fresh.proxy_url).password or "")
    return {secret for secret in found if len(secret) >= _SECRET_AT_LEAST}


logger = logging.getLogger(__name__)

DIAGNOSIS = "corp.diagnosis"
_UNFINISHED = Q(status__in=[Status.WAITING, Status.RUNNING])
# The time limit of all that a check does on the network.
CHECK_SECONDS = 60
# A check is given up once so many workers died while they ran it.
TRIES = 5
# A test message sent later after the click would surprise its reader.
MESSAGE_GOOD_FOR = timedelta(minutes=10)
USERID_BYTES_AT_MOST = 64


# --- Requests ---------------------------------------------------------------------------------------------------------


def request_checks(*, corp: Corp, checks: Iterable[str] | None, now: datetime) -> None:
    """Request the named checks (None: all but the test message). An unfinished check is not requested again.

    Raises KeyError for an unknown name, ValueError for the test message, which needs a person.
    """
    names = ALL_BUT_MESSAGE if checks is None else tuple(checks)
    if MESSAGE in names:
        raise ValueError("request_test_message requests the test message")
    _request_runs(corp, {name: CHECKS[name].subject(corp) for name in names}, now)


def request_test_message(*, corp: Corp, userid: str, now: datetime) -> None:
    """Request a test message to one person. `userid`: WeCom's; raises MessageError for an invalid one."""
    check_bytes("touser", userid, USERID_BYTES_AT_MOST)
    check_userids([userid])
    _request_runs(corp, {MESSAGE: userid}, now)


@transaction.atomic
def _request_runs(corp: Corp, subjects: dict[str, str], now: datetime) -> None:
    # The row is locked, so that of two simultaneous clicks the second finds the runs of the first.
    version = Corp.objects.select_for_update().values_list("connection_version", flat=True).get(pk=corp.pk)
    unfinished = CheckRun.objects.filter(_UNFINISHED, corp=corp, connection_version=version)
    known = set(unfinished.values_list("check_name", "subject"))
    missing = [pair for pair in subjects.items() if pair not in known]
    columns = {"corp": corp, "connection_version": version, "requested_at": now}
    CheckRun.objects.bulk_create(
        [CheckRun(check_name=name, subject=subject, **columns) for name, subject in missing],
        update_conflicts=True,
        unique_fields=["corp", "check_name"],
        update_fields=["connection_version", "subject", "requested_at", "status", "try_count", "next_try_at"],
    )
    if subjects:
        requests.request_job(DIAGNOSIS, key=corp.pk, subject=corp.name, corp=corp, now=now)


def repair_times(*, now: datetime) -> None:
    """Repair runs after a clock ran ahead: times in the future become now."""
    for name in ("requested_at", "finished_at"):
        CheckRun.objects.filter(**{f"{name}__gt": now}).update(**{name: now})


# --- Execution --------------------------------------------------------------------------------------------------------


@job_kind(
    DIAGNOSIS,
    label=gettext_lazy("Check of a company"),
    explain=lambda _job: "",  # the checks themselves show their findings
    seconds=2 * CHECK_SECONDS,
    tries=TRIES + 2,  # after TRIES dead workers the check ends as `died`; if workers still die, the job ends
    repeats_errors=True,
    keep=timedelta(hours=1),
    see="integrations.change_corp",
    retry="integrations.change_corp",
)
def run_next_check(job_run: JobRun) -> dict[str, Any] | RunAgain:
    """Execute the first due check of a company, in the diagnosis' order. The job runs again while other checks wait."""
    runs = CheckRun.objects.filter(corp=job_run.job.corp_id, check_name__in=CHECKS)
    due = runs.filter(_UNFINISHED | Q(next_try_at__lte=job_run.clock())).order_by("pk")
    if first := min(due, key=lambda run: list(CHECKS).index(run.check_name), default=None):
        execute_check(first, job_run)
    if runs.filter(_UNFINISHED).exists():
        return RunAgain(job_run.clock())
    next_try_at = runs.aggregate(Min("next_try_at"))["next_try_at__min"]
    return {} if next_try_at is None else RunAgain(next_try_at)


def execute_check(run: CheckRun, job_run: JobRun) -> None:
    """Execute one check, store its finding, and request the runs that follow. Every failure becomes a finding."""
    check, corp = CHECKS[run.check_name], Corp.objects.select_related("site_address").get(pk=run.corp_id)
    finding: Finding | None = None
    now = job_run.clock()
    # These runs must not be tried, or not again.
    if check.name != MESSAGE and job_run.job.try_count > TRIES:
        finding = wrong("died", heals=False)
    elif check.name == MESSAGE and run.status == Status.RUNNING:  # its worker died, and it may have been sent
        finding = warning("lost")
    elif check.name == MESSAGE and now - run.requested_at > MESSAGE_GOOD_FOR:
        finding = skip("too_late")
    if finding is None:
        run.try_count += 1
        columns = {"try_count": run.try_count, "next_try_at": None}
        with transaction.atomic():
            if not _find_unchanged_run(run).update(status=Status.RUNNING, **columns):
                return  # it was requested anew meanwhile
            job_run.lock_job()  # a worker that was paused and lost its lease must not send a second test message
        run.connection_version = corp.connection_version
        try:
            # A Secret just saved in another process must not be judged by the former token.
            token_store().drop_copies(corp.corpid, corp.agentid)
            run.subject = check.subject(corp) if check.name != MESSAGE else run.subject
            with total_deadline(CHECK_SECONDS):
                finding = check.run(Question(corp=corp, now=now, subject=run.subject))
        except IntegrationError as error:
            finding = judge_error(error)
        except Exception as error:  # noqa: BLE001  # a check may fail in any way, and the page waits for its result
            # The log leaves out its text, which may contain an address with a Secret.
            logger.error("check %s crashed corp=%s error=%s", check.name, run.corp_id, type(error).__name__)
            finding = wrong("crashed", heals=False, detail=type(error).__name__)
    logger.info("check %s corp=%s status=%s errcode=%s", run.check_name, run.corp_id, finding.status, finding.errcode)
    with transaction.atomic():
        _store_finding(run, check, corp, finding, job_run.clock())
        job_run.lock_job()
    if finding.status in PASSED and check.name in ESSENTIAL:
        hooks.calls().probe_company_at_once(run.corp_id, job_run.clock())  # send one waiting message soon


def _store_finding(run: CheckRun, check: Check, corp: Corp, finding: Finding, now: datetime) -> None:
    """Store the finding, unless the check was requested anew meanwhile. If it is wrong, block the waiting checks that
    depend on this one; if it passed, start them again."""
    # The first of these is the wait before the next try.
    waits = [wait for age, wait in check.retries if now - run.requested_at < age] if finding.heals else []
    if not _find_unchanged_run(run).update(
        **finding.columns,
        connection_version=run.connection_version,
        subject=run.subject,
        finished_at=now,
        next_try_at=now + waits[0] if waits else None,
    ):
        return
    dependents = CheckRun.objects.filter(corp=corp, check_name__in=BLOCKED_BY.get(check.name, ()))
    if finding.status in PASSED:
        # Also checks that WeCom refused for the same reason, apart from the test message, which may have been sent.
        is_refused = Q(status=Status.WRONG, errcode__isnull=False) & ~Q(check_name=MESSAGE)
        is_blocked = Q(status=Status.SKIPPED, problem="blocked", facts__by=check.name)
        dependents.filter(is_blocked | is_refused).update(status=Status.WAITING, next_try_at=None)
    elif finding.status == Status.WRONG:
        blocked = skip("blocked", {"by": check.name}).columns
        dependents.filter(status=Status.WAITING).update(**blocked, finished_at=now)


def _find_unchanged_run(run: CheckRun) -> QuerySet[CheckRun]:
    return CheckRun.objects.filter(pk=run.pk, requested_at=run.requested_at)
