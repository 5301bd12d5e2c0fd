"""Requests the data of a run and waits for it in the run's row. Fetches nothing itself.

A run whose report has cards is rendered when the data of all of them is there, or failed. Until then it stays waiting
and keeps no worker busy: whoever fetches tells (`waiting_runs`), and the sweep looks again where that was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import OuterRef, Subquery

from integrations.core.sentences import NoData, Sentence
from integrations.data.table import Table
from integrations.datasources import fetch
from integrations.models import Card, CardData
from notifications.models import Report, ReportCard, Run
from notifications.sources import RenderingError

K = TypeVar("K")

# Nobody told us, and nothing is there: the sweep looks again after so long.
RECHECK_AFTER = timedelta(seconds=20)
# Every fetch ends long before; what keeps one from ending must not keep its subscription from ever running again.
WAIT_AT_MOST = timedelta(hours=1)


class DataPending(Exception):  # noqa: N818  # no error: the run waits
    """Some of the data is still being fetched."""


def cards_of(report: Report) -> list[ReportCard]:
    """In the report's order, with their sources. One query."""
    return list(ReportCard.objects.filter(report=report.pk).select_related("card__source"))


def load(run: Run, cards: Sequence[ReportCard], *, now: datetime) -> dict[str, Table]:
    """The data of the run's slot, by the alias of each card. What nobody asked for yet is asked for.

    Raises DataPending until all of it is settled, and RenderingError where some of it cannot be had.
    """
    card_ids = {one.card_id for one in cards}
    found = fetch.states(card_ids, slot_at=run.slot_at)
    waiting = []
    for one in cards:
        state = found.get(one.card_id)
        if state is not None and state.status == CardData.Status.FAILED:
            raise RenderingError(_problem(one, state))
        if state is None or state.status != CardData.Status.READY:
            waiting.append(one)
    missing = card_ids - found.keys()
    if waiting and now > run.claimed_at + WAIT_AT_MOST:
        raise RenderingError(_problem(waiting[0], Sentence("nothing came within an hour.")))
    if missing:
        fetch.request(missing, slot_at=run.slot_at, now=now)
    if waiting:
        raise DataPending
    return {one.alias: found[one.card_id].table for one in cards}


def latest_tables(cards: Mapping[K, int]) -> dict[K, Table]:
    """Return what was fetched last of each card of which anything was, for a message or a page. Asks for no permission:
    the keys come from our own rows. One query.
    """
    ready = CardData.objects.filter(card=OuterRef("pk"), status=CardData.Status.READY)
    last = Subquery(ready.order_by("-finished_at", "-pk").values("pk")[:1])
    known = Card.objects.filter(pk__in=set(cards.values())).annotate(last=last)
    newest = CardData.objects.filter(pk__in=known.values("last"))
    tables = {one.card_id: one.table for one in newest}
    return {key: tables[card_id] for key, card_id in cards.items() if card_id in tables}


def waiting_runs(card_id: int, slot_at: datetime) -> list[int]:
    """Ids of the runs that wait for this card's data, which is settled now."""
    runs = Run.objects.filter(
        status=Run.Status.WAITING, slot_at=slot_at, subscription__report__report_cards__card=card_id
    )
    return list(runs.order_by("pk").values_list("pk", flat=True).distinct())


def problem_so_far(run: Run) -> Sentence | None:
    """Why the data of a run is not there yet, where a fetch has failed and is to be repeated."""
    cards = [] if run.subscription is None else cards_of(run.subscription.report)
    found = fetch.states({one.card_id for one in cards}, slot_at=run.slot_at)
    failed = [one for one in cards if one.card_id in found and found[one.card_id].problem_code]
    return _problem(failed[0], found[failed[0].card_id]) if failed else None


def unknown_values(run: Run) -> dict[str, int]:
    """Map each column of the run's data that had values which do not fit it to their number; they count as unknown.
    Without the values: who sees a run may not see all of its data."""
    cards = [] if run.subscription is None else cards_of(run.subscription.report)
    counts: dict[str, int] = {}
    for state in fetch.states({one.card_id for one in cards}, slot_at=run.slot_at).values():
        if state.status == CardData.Status.READY:
            counts |= {misfit.column: misfit.count for misfit in state.table.misfits}
    return counts


def _problem(card: ReportCard, problem: Sentence | CardData) -> Sentence:
    why = NoData(problem.problem_code, problem.problem_facts) if isinstance(problem, CardData) else problem
    return Sentence("There is no data of the card “%(card)s”: %(problem)s") % {"card": card.card, "problem": why}
