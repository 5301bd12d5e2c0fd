"""Results of the diagnosis: the newest run of each check, reasons against enabling, a company's state, the export."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from django.db.models import prefetch_related_objects
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.clients.errors import Explanation, TransientError
from integrations.clients.wecom import errcodes
from integrations.companies.diagnosis import app, console, network
from integrations.companies.diagnosis.findings import (
    IP_REFUSED,
    MESSAGE,
    OTHER_APP,
    SHARED_EXPLANATIONS,
    Check,
    Status,
)
from integrations.core import hooks
from integrations.core.client_factory import token_store
from integrations.core.hooks import CallsRefused
from integrations.core.sentences import translate_explanation
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
# The checks that are not tried while another one is wrong, because they would only meet the same obstacle.
_READING_THE_APP = ("app", "scope", "domain", "home_page")
_CALLING = ("agentid", *_READING_THE_APP, "contacts", "departments", MESSAGE)
BLOCKED_BY = {
    "network": ("token", "ip", *_CALLING),
    "token": ("ip", *_CALLING),
    "ip": _CALLING,
    "agentid": _READING_THE_APP,
}
# Without these nobody is reached; sign-in also needs the other two.
ESSENTIAL = ("token", "ip", "agentid", "app", "scope")
ESSENTIAL_TO_SIGN_IN = ("domain", "home_page")
PASSED = frozenset({Status.OK, Status.WARNING})
# A limit, because a company may be disabled for months, while WeCom's settings change.
RESULTS_COUNT_FOR = timedelta(days=1)


def find_latest_runs(corp: Corp) -> dict[str, CheckRun]:
    """Return the run of each check that was ever requested, in the diagnosis' order."""
    found = {run.check_name: run for run in corp.check_runs.all()}
    return {name: found[name] for name in CHECKS if name in found}


def is_current(run: CheckRun, corp: Corp) -> bool:
    """Return whether `run` saw the present connection, address and links."""
    if run.connection_version != corp.connection_version:
        return False
    return run.check_name == MESSAGE or run.subject == CHECKS[run.check_name].subject(corp)


def find_outdated_checks(corp: Corp) -> list[str]:
    """Name the checks whose results do not match the saved values, without the test message, which people get."""
    runs = find_latest_runs(corp)
    return [name for name, run in runs.items() if name != MESSAGE and not is_current(run, corp)]


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
    operation = "gettoken" if check_name == "token" else ""
    return translate_explanation(errcodes.explain(errcode, operation=operation), facts)


def label_check(name: str) -> str:
    """Return a check's name in the active language."""
    return _(CHECKS[name].label) if name in CHECKS else name


# --- Enabling a company -----------------------------------------------------------------------------------------------


def list_essential_checks(corp: Corp) -> tuple[str, ...]:
    """Name the checks that must have passed, with sign-in including those that it needs."""
    return (*ESSENTIAL, *ESSENTIAL_TO_SIGN_IN) if corp.sign_in_enabled else ESSENTIAL


def find_reasons_against_sign_in(corp: Corp, *, now: datetime) -> list[str]:
    """Return why sign-in cannot be switched on for an enabled corp yet, by the same rules.

    The home page was compared with the plain login address, so it is judged again by the link of sign-in.
    """
    runs = find_latest_runs(corp)
    run = runs.get("home_page")
    if run is not None and "theirs" in run.facts and is_current(run, corp):
        with_sign_in = copy(corp)
        with_sign_in.sign_in_enabled = True
        finding = console.judge_home_page(with_sign_in, run.facts["theirs"])
        run.status, run.problem, run.facts = finding.status, finding.problem, dict(finding.facts)
    return find_reasons(ESSENTIAL_TO_SIGN_IN, runs, corp, now)


def find_reasons(names: Sequence[str], runs: dict[str, CheckRun], corp: Corp, now: datetime) -> list[str]:
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
    """A corp's last diagnosis in few words. `tone`: good, warn, bad or quiet; `checked_at`: of the newest result."""

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
    if wrong := counts[Status.WRONG]:
        text = ngettext("%(count)s check wrong", "%(count)s checks wrong", wrong)
        tone, words = "bad", text % {"count": wrong}
    elif any(run.is_unfinished for run in current):
        tone, words = "quiet", _("being checked")
    elif warned := counts[Status.WARNING]:
        text = ngettext("%(count)s check to be looked at", "%(count)s checks to be looked at", warned)
        tone, words = "warn", text % {"count": warned}
    else:
        tone, words = ("good", _("in order")) if counts[Status.OK] else ("quiet", _("not checked yet"))
    checked_at = max((run.finished_at for run in current if run.finished_at is not None), default=None)
    return Health(tone, words, checked_at)


# --- The state of a company by its last real calls, whatever a diagnosis found before ---------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why WeCom refuses a corp's calls, in the active language. `line`: cause, waiting recipients and
    remedy; `sentence`: the line with the corp's name; `anchor`: the place on its page where it is fixed."""

    cause: str
    line: str
    sentence: str
    anchor: str


def find_refusals(corps: Iterable[Corp]) -> dict[int, Refusal]:
    """Map keys of corps to the refusal of their last real calls, or to the reason why they get no token."""
    now, known = timezone.now(), {corp.pk: corp for corp in corps}
    found: dict[int, CallsRefused] = {}
    with suppress(TransientError):  # if the store is down, it is asked once, not for each corp
        for corp in known.values():
            pause = token_store().pause(corp.corpid, corp.agentid)
            if pause is not None and pause.code is not None:
                found[corp.pk] = CallsRefused(pause.code, until=now + timedelta(seconds=pause.remaining_seconds))
    found |= hooks.calls().find_refused([corp for corp in known.values() if corp.is_enabled], now)
    return {pk: _describe_refusal(known[pk], one, now) for pk, one in found.items()}


def find_refusal(corp: Corp) -> Refusal | None:
    """Return the refusal of the corp's last real calls, if any."""
    return corp.refusal if hasattr(corp, "refusal") else find_refusals([corp]).get(corp.pk)  # set by fetch_states


def fetch_states(corps: Sequence[Corp]) -> None:
    """Load each corp's `check_runs`, and set `refusal`, of its last real calls, and `health`, of its last diagnosis. It
    takes a fixed number of queries."""
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
        known = _("WeCom gives no token until %(time)s") % {"time": _format_time(refused.until, now)}, "", "diagnosis"
    elif code is None:
        known = _("WeCom does not answer"), _("test the connection"), "credentials"
    elif code in errcodes.SECRET_REFUSED | OTHER_APP:
        known = _("credentials refused"), _("update the Secret"), "credentials"
    elif code in IP_REFUSED:
        known = _("server address refused"), _("enter it as a trusted IP"), "trusted_ip"
    else:
        known = _("calls refused (%(code)s)") % {"code": code}, _("run the diagnosis"), "diagnosis"
    cause, remedy, anchor = known
    waiting = ""
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
    return Refusal(cause, line, _("“%(corp)s”: %(line)s") % {"corp": corp, "line": line}, anchor)


def _format_time(moment: datetime, now: datetime) -> str:
    """Return the time, with the date if it is another day."""
    here = timezone.localtime(moment)
    return f"{here:%H:%M}" if here.date() == timezone.localtime(now).date() else f"{here:%Y-%m-%d %H:%M}"


def find_held_up(corp_ids: Iterable[int] | None, *, seen_by: Person) -> list[str]:
    """Return a sentence for each of these companies (None: all) whose calls are refused, if the person may see it."""
    corps = Corp.objects.visible_to(seen_by).only("name", "corpid", "agentid", "is_enabled")
    found = corps if corp_ids is None else corps.filter(pk__in=list(corp_ids))
    return [refusal.sentence for refusal in find_refusals(found).values()]


# --- The text for support ---------------------------------------------------------------------------------------------

# Shorter ones are not secret, and replacing them would damage ordinary words.
_SECRET_AT_LEAST = 4


def export_text(corp: Corp, *, now: datetime) -> str:
    """Return all facts about the corp's connection for support, in the active language and without a secret."""
    checks = []
    for name, run in {**dict.fromkeys(CHECKS), **find_latest_runs(corp)}.items():
        row: dict[str, Any] = {"name": name, "label": label_check(name), "run": run}
        if run is not None:
            row |= {"is_current": is_current(run, corp), "sentences": explain_run(run).sentences}
            row["technical"] = write_technical_line(run)
        checks.append(row)
    text = render_to_string("integrations/diagnosis.txt", {"corp": corp, "now": now, "checks": checks})
    # We store no secret, but the stored answers of other servers may hold anything.
    for secret in sorted(_read_secrets(corp), key=len, reverse=True):
        for spelling in {secret, quote(secret, safe="")}:
            text = text.replace(spelling, "***")
    return text


def write_technical_line(run: CheckRun) -> str:
    """Return a line for support: numbers and the other side's words."""
    parts = [f"check {run.check_name}"]
    parts += [f"problem {run.problem}"] if run.problem else []
    parts += [f"errcode {run.errcode}"] if run.errcode is not None else []
    parts += [run.detail] if run.detail else []
    parts += [f"hint {run.hint}"] if run.hint else []
    parts += [f"ip {run.caller_ip}"] if run.caller_ip else []
    return "; ".join(parts)


def _read_secrets(corp: Corp) -> set[str]:
    fresh = Corp.objects.get(pk=corp.pk)  # the page's query leaves the secrets out
    columns = [column.name for column in fresh._meta.fields if isinstance(column, EncryptedTextField)]
    values = [getattr(fresh, name) for name in columns]
    found = {value for value in values if not isinstance(value, Unreadable)}
    if not isinstance(fresh.proxy_url, Unreadable):
        found.add(urlsplit(fresh.proxy_url).password or "")
    return {secret for secret in found if len(secret) >= _SECRET_AT_LEAST}
