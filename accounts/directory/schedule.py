"""When runs begin, and which work is waiting for a worker. A run is two halves: WeCom's copy, then people here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone

from accounts.directory import applying
from accounts.models import DirectoryPolicy
from integrations import directory
from integrations.models import Corp, SyncRun

# Nightly runs begin from 03:00 in the site's time zone on, each company at its own minute: WeCom counts calls per
# address, too. Who was not reached by 06:00, because nothing ran here, waits for the next night.
FIRST_HOUR = 3
SPREAD_MINUTES = 60
LATEST = timedelta(hours=3)


def nightly_moment(*, corp: Corp, now: datetime) -> datetime:
    """Today's moment for the company's run."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(hours=FIRST_HOUR, minutes=corp.pk * 7 % SPREAD_MINUTES)


def request_nightly(*, now: datetime) -> None:
    """Ask for the nightly runs whose moment has come. A repeat asks for none of them again."""
    for policy in DirectoryPolicy.objects.in_force().select_related("corp"):
        moment = nightly_moment(corp=policy.corp, now=now)
        if not moment <= now < moment + LATEST:
            continue
        tonight = SyncRun.objects.filter(corp=policy.corp, trigger=SyncRun.Trigger.NIGHTLY, requested_at__gte=moment)
        if not tonight.exists():
            directory.request_run(corp=policy.corp, trigger=SyncRun.Trigger.NIGHTLY, now=now)


def waiting_for_a_worker(*, now: datetime) -> list[int]:
    """Keys of runs to queue: either half new, due again, or left by a worker that died. Twice does no harm."""
    keys = [*directory.due_runs(now=now), *applying.claimable(now=now), *applying.unfinished()]
    return list(dict.fromkeys(keys))


def carry_on(*, run_id: int, clock: Callable[[], datetime]) -> None:
    """Both halves of a run, or what is left of them; nothing where another worker is at it."""
    policy = DirectoryPolicy.objects.filter(corp__sync_runs=run_id).first()
    directory.run_sync(run_id=run_id, clock=clock, number_field=policy.number_field if policy is not None else "")
    run = SyncRun.objects.select_related("corp").filter(pk=run_id, status=SyncRun.Status.DONE).first()
    if run is not None:
        applying.apply_run(run=run, clock=clock)
