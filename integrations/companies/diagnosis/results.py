"""Reads the newest run of each check, in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.clients.errors import TransientError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom import errcodes
from integrations.companies.diagnosis.checks import CHECKS
from integrations.companies.diagnosis.checks.message import MESSAGE
from integrations.companies.diagnosis.findings import IP_REFUSED, OTHER_APP, SHARED_EXPLANATIONS, BlockingCheck, Status
from integrations.core import hooks
from integrations.core.client_factory import token_store
from integrations.core.explanations import translated
from integrations.core.hooks import CallsRefused
from integrations.models import CheckRun, Corp
from integrations.models.scoping import Person

_UNKNOWN = Explanation("")


class _Facts(dict[str, Any]):
    """Facts for a sentence; one that an earlier version did not note does not break it."""

    def __missing__(self, key: str) -> str:
        return "?"


def latest(corp: Corp) -> dict[str, CheckRun]:
    """The newest run of each check that was ever asked for, in the diagnosis' order."""
    found = {run.check_name: run for run in CheckRun.objects.newest_of([corp])}
    return {name: found[name] for name in CHECKS if name in found}


def is_current(run: CheckRun, corp: Corp) -> bool:
    """Whether `run` saw the connection, and our address and links, as they are now."""
    if run.connection_version != corp.connection_version:
        return False
    return run.check_name == MESSAGE.name or run.subject == CHECKS[run.check_name].subject(corp)


def outdated(corp: Corp) -> list[str]:
    """The checks that looked at something else than what is saved now, but for the test message, which people get."""
    return [name for name, run in latest(corp).items() if name != MESSAGE.name and not is_current(run, corp)]


def explanation(run: CheckRun) -> Explanation:
    """What the result of a run means, in the active language; empty while it is not finished."""
    if run.is_unfinished:
        return Explanation("")
    return explained(run.check_name, run.problem, run.errcode, run.facts)


def explained(check_name: str, problem: str, errcode: int | None, found: Mapping[str, Any]) -> Explanation:
    """What a finding of a check means, in the active language. `found`: its facts."""
    facts = _Facts(found)
    if problem == "blocked":
        facts["by_label"] = label(facts["by"])
    if "until" in facts:
        facts["until"] = f"{timezone.localtime(datetime.fromisoformat(facts['until'])):%Y-%m-%d %H:%M}"
    return translated(_english(check_name, problem, errcode), facts)


def _english(check_name: str, problem: str, errcode: int | None) -> Explanation:
    own = CHECKS[check_name].explanations.get(problem) or SHARED_EXPLANATIONS.get(problem)
    if own is not None:
        return replace(own, guide=CHECKS[check_name].guide)
    if errcode is None:
        return _UNKNOWN
    return errcodes.explain(errcode, operation="gettoken" if check_name == BlockingCheck.TOKEN else "")


def label(name: str) -> str:
    """The name of a check in the active language."""
    return _(CHECKS[name].label) if name in CHECKS else name


# --- Many companies at a glance ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Health:
    """A corp's last diagnosis in a few words. `tone`: good, warn, bad or quiet; `checked_at`: of the newest result."""

    tone: str
    words: str
    checked_at: datetime | None
    wrong_count: int


def health_by_corp(corps: Sequence[Corp]) -> dict[int, Health]:
    """The health of each corp by its key, in one query. Results of another connection count for nothing."""
    runs: dict[int, list[CheckRun]] = defaultdict(list)
    for run in CheckRun.objects.newest_of(corps):
        runs[run.corp_id].append(run)
    return {corp.pk: health_of(runs[corp.pk], version=corp.connection_version) for corp in corps}


def health_of(runs: Iterable[CheckRun], *, version: int) -> Health:
    """From the newest run of each check of a corp, and its connection version."""
    runs = [run for run in runs if run.check_name != MESSAGE.name]
    current = [run for run in runs if run.connection_version == version]
    if runs and not current:
        return Health("warn", _("credentials changed, not checked"), None, 0)
    counts = {status: sum(_as_seen(run) == status for run in current) for status in Status}
    checked_at = max((run.finished_at for run in current if run.finished_at is not None), default=None)
    tone, words = _words(counts, is_unfinished=any(run.is_unfinished for run in current))
    return Health(tone, words, checked_at, counts[Status.WRONG])


def _as_seen(run: CheckRun) -> str:
    """Why? A check that could not be tried is nothing in order, even where the one in its way looks so."""
    return Status.WARNING if run.problem == "blocked" and run.status == Status.SKIPPED else run.status


def _words(counts: dict[Status, int], *, is_unfinished: bool) -> tuple[str, str]:
    if counts[Status.WRONG]:
        text = ngettext("%(count)s check wrong", "%(count)s checks wrong", counts[Status.WRONG])
        return "bad", text % {"count": counts[Status.WRONG]}
    if is_unfinished:
        return "quiet", _("being checked")
    if counts[Status.WARNING]:
        text = ngettext("%(count)s check to be looked at", "%(count)s checks to be looked at", counts[Status.WARNING])
        return "warn", text % {"count": counts[Status.WARNING]}
    return ("good", _("in order")) if counts[Status.OK] else ("quiet", _("not checked yet"))


# --- The state of a company: that of its last real calls, whatever a diagnosis found before -------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why WeCom takes no calls of a corp, in the active language. `line`: the cause, who waits, and the remedy;
    `sentence`: the same with the corp's name; `anchor`: the place of its page where it is mended."""

    cause: str
    line: str
    sentence: str
    anchor: str


def refusals(corps: Iterable[Corp]) -> dict[int, Refusal]:
    """Map keys to the corps whose last real calls were refused or not answered, or that get no token at the moment."""
    now, known = timezone.now(), {corp.pk: corp for corp in corps}
    found: dict[int, CallsRefused] = {}
    with suppress(TransientError):  # the store is down: it is asked once, not for each corp
        for corp in known.values():
            pause = token_store().pause(corp.corpid, corp.agentid)
            if pause is not None and pause.code is not None:
                found[corp.pk] = CallsRefused(pause.code, until=now + timedelta(seconds=pause.remaining_seconds))
    for of_queues in hooks.calls_refused([corp for corp in known.values() if corp.is_enabled], now):
        found |= of_queues
    return {pk: _refusal(known[pk], one, now) for pk, one in found.items()}


def _refusal(corp: Corp, refused: CallsRefused, now: datetime) -> Refusal:
    code = refused.errcode
    if refused.until is not None and code == errcodes.RATE_LIMITED:
        known = _("WeCom gives no token until %(time)s") % {"time": _clock(refused.until, now)}, "", "diagnosis"
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
        waiting = _("not asked again before %(time)s") % {"time": _clock(refused.until, now)}
    elif refused.since is not None:
        sentence = ngettext(
            "%(count)s recipient waits since %(time)s",
            "%(count)s recipients wait since %(time)s",
            refused.waiting_count,
        )
        sentence = sentence if refused.waiting_count else _("since %(time)s")
        waiting = sentence % {"count": f"{refused.waiting_count:,}", "time": _clock(refused.since, now)}
    line = " · ".join(filter(None, [cause, waiting, remedy]))
    return Refusal(cause, line, _("“%(corp)s”: %(line)s") % {"corp": corp, "line": line}, anchor)


def _clock(moment: datetime, now: datetime) -> str:
    """The time; of another day with its date."""
    here = timezone.localtime(moment)
    return f"{here:%H:%M}" if here.date() == timezone.localtime(now).date() else f"{here:%Y-%m-%d %H:%M}"


def find_held_up(corp_ids: Iterable[int] | None, *, seen_by: Person) -> list[str]:
    """Return a sentence for each of these companies (None: all) that takes no calls, as far as the person sees it."""
    corps = Corp.objects.visible_to(seen_by).only("name", "corpid", "agentid", "is_enabled")
    found = corps if corp_ids is None else corps.filter(pk__in=list(corp_ids))
    return [refusal.sentence for refusal in refusals(found).values()]
