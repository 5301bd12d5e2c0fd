"""Findings that block enabling a company."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from integrations.companies.diagnosis.checks import ESSENTIAL, ESSENTIAL_TO_SIGN_IN
from integrations.companies.diagnosis.checks.console import HOME_PAGE, judge_home_page
from integrations.companies.diagnosis.findings import Status
from integrations.companies.diagnosis.results import explanation, is_current, label, latest
from integrations.models import CheckRun, Corp

PASSED = frozenset({Status.OK, Status.WARNING})
# A company may be disabled for months, and much happens in WeCom meanwhile.
RESULTS_COUNT_FOR = timedelta(days=1)


def essential_checks(corp: Corp) -> tuple[str, ...]:
    """The checks that must have passed: with sign-in also those without which nobody gets in."""
    return (*ESSENTIAL, *ESSENTIAL_TO_SIGN_IN) if corp.sign_in_enabled else ESSENTIAL


def reasons(corp: Corp, *, now: datetime) -> list[str]:
    """Why the corp cannot be enabled yet, as sentences in the active language.

    Only results of today's values count, and none that is older than RESULTS_COUNT_FOR.
    """
    return _sentences(essential_checks(corp), latest(corp), corp, now)


def reasons_against_sign_in(corp: Corp, *, now: datetime) -> list[str]:
    """Why sign-in, which is off, cannot be switched on for an enabled corp yet, under the rules of `reasons`.

    The home page that WeCom has was compared with the plain login address: it is judged anew, by the link of sign-in.
    """
    runs = latest(corp)
    run = runs.get(HOME_PAGE.name)
    if run is not None and "theirs" in run.facts and is_current(run, corp):
        with_sign_in = copy(corp)
        with_sign_in.sign_in_enabled = True
        finding = judge_home_page(with_sign_in, run.facts["theirs"])
        run.status, run.problem, run.facts = finding.status, finding.problem, dict(finding.facts)
    return _sentences(ESSENTIAL_TO_SIGN_IN, runs, corp, now)


def _sentences(names: Sequence[str], runs: dict[str, CheckRun], corp: Corp, now: datetime) -> list[str]:
    missing: list[str] = []
    old: list[str] = []
    unfinished: list[str] = []
    sentences: list[str] = []
    for name in names:
        run = runs.get(name)
        if run is not None and run.is_unfinished:
            unfinished.append(label(name))
        elif run is None or not is_current(run, corp):
            missing.append(label(name))
        elif run.status not in PASSED:
            sentences.append(_sentence(run))
        elif run.finished_at is None or now - run.finished_at > RESULTS_COUNT_FOR:
            old.append(label(name))
    texts = {
        _("Not checked, or not since the last change: %(checks)s. Run the diagnosis first."): missing,
        _("Checked more than a day ago: %(checks)s. Run the diagnosis again."): old,
        _("Being checked at the moment: %(checks)s. Wait for the result."): unfinished,
    }
    listed = [text % {"checks": _(", ").join(names)} for text, names in texts.items() if names]
    return [*listed, *sentences]


def _sentence(run: CheckRun) -> str:
    return _("%(check)s: %(reason)s") % {"check": label(run.check_name), "reason": explanation(run).what}
