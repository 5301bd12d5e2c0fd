"""Steps from a new company to an enabled one, in the order of WeCom's console.

WeCom edits an app's trusted IPs only once a trusted domain or a callback address is set, it takes a domain only with
its verification file, and it checks a callback address with a GET. So the file and that GET are answered before the
corp is enabled, and the steps stand in this order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext as _

from integrations.companies import links, verification_files
from integrations.companies.diagnosis import results
from integrations.companies.diagnosis.findings import Status
from integrations.models import CheckRun, Corp, VerificationFile


class State(StrEnum):
    DONE = "done"
    TO_DO = "to_do"
    WRONG = "wrong"
    OPTIONAL = "optional"
    RUNNING = "running"

    @property
    def words(self) -> str:
        return {
            State.DONE: _("done"),
            State.TO_DO: _("to do"),
            State.WRONG: _("wrong"),
            State.OPTIONAL: _("not needed"),
            State.RUNNING: _("being checked"),
        }[self]

    @property
    def tone(self) -> str:
        """The colour that goes with the word."""
        return {State.DONE: "good", State.WRONG: "bad", State.TO_DO: "warn"}.get(self, "quiet")


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `anchor`: its place in the corp's page. `is_next`: the first one that is not done."""

    number: int
    anchor: str
    title: str
    state: State
    is_next: bool


def steps(corp: Corp) -> list[Step]:
    """Every step with its state, from what is saved, what the checks last found of it, and what real calls met."""
    runs, refusal = _current_runs(corp), results.refusals([corp]).get(corp.pk)
    wrong = set() if refusal is None else {refusal.anchor, "diagnosis"}
    found = [
        ("credentials", _("Credentials"), _credentials(runs)),
        ("verification", _("Verification file"), _verification(corp, runs)),
        ("console", _("Domain, home page, callback"), _console(corp, runs)),
        ("trusted_ip", _("Trusted IP"), _of_checks(runs, "ip")),
        ("diagnosis", _("Full test"), _full_test(corp, runs)),
        ("enable", _("Enable"), State.DONE if corp.is_enabled else State.TO_DO),
    ]
    found = [(anchor, title, State.WRONG if anchor in wrong else state) for anchor, title, state in found]
    open_ones = [anchor for anchor, _title, state in found if state not in {State.DONE, State.OPTIONAL}]
    return [
        Step(number, anchor, title, state, is_next=open_ones[:1] == [anchor])
        for number, (anchor, title, state) in enumerate(found, start=1)
    ]


def values(corp: Corp) -> dict[str, State]:
    """Whether WeCom was seen to have our trusted domain and home page, by the name of the check.

    The callback domain is not among them: WeCom shows it to nobody but its console.
    """
    runs = _current_runs(corp)
    domain = _of_checks(runs, "domain")
    if domain == State.TO_DO and not corp.sign_in_enabled:
        domain = State.OPTIONAL
    return {"domain": domain, "home_page": _of_checks(runs, "home_page")}


def words_of_value(state: State) -> str:
    """What a state means for a value that was copied into WeCom."""
    return {
        State.DONE: _("so in WeCom"),
        State.TO_DO: _("not checked in WeCom yet"),
        State.WRONG: _("not so in WeCom"),
    }.get(state, state.words)


def _current_runs(corp: Corp) -> dict[str, CheckRun]:
    """The newest run of each check, of those that saw what is saved now."""
    return {name: run for name, run in results.find_latest_runs(corp).items() if results.is_current(run, corp)}


def _of_checks(runs: dict[str, CheckRun], *names: str) -> State:
    """One state for several checks: the worst of them. What is blocked by another check is still to do."""
    known = [runs[name] for name in names if name in runs]
    if any(run.status == Status.WRONG for run in known):
        return State.WRONG
    if any(run.is_unfinished for run in known):
        return State.RUNNING
    return (
        State.DONE if len(known) == len(names) and all(run.status in results.PASSED for run in known) else State.TO_DO
    )


def _credentials(runs: dict[str, CheckRun]) -> State:
    """Return the state of the token; wrong, too, where it was not tried because the network failed."""
    state = _of_checks(runs, "token")
    return State.WRONG if state == State.TO_DO and _of_checks(runs, "network") == State.WRONG else state


def _verification(corp: Corp, runs: dict[str, CheckRun]) -> State:
    """Done where the file answers, or where WeCom has taken the domain, for which it had looked for the file."""
    if _of_checks(runs, "domain") == State.DONE:
        return State.DONE
    site = links.site_address_for(corp)
    outcomes = {
        file.outcome if file.checked_url == verification_files.public_url(site, file) else ""
        for file in corp.verification_files.all()
    }
    if VerificationFile.Outcome.FOUND in outcomes:
        return State.DONE
    if outcomes - {""}:
        return State.WRONG
    return State.TO_DO if corp.sign_in_enabled else State.OPTIONAL


def _console(corp: Corp, runs: dict[str, CheckRun]) -> State:
    names = ("domain", "home_page") if corp.sign_in_enabled else ("home_page",)
    return _of_checks(runs, *names)


def _full_test(corp: Corp, runs: dict[str, CheckRun]) -> State:
    """Done when everything essential passed and nothing else is wrong."""
    state = _of_checks(runs, *results.essential_checks(corp))
    others = _of_checks(runs, *runs)
    return others if others in {State.WRONG, State.RUNNING} else state
