"""Applies a company's policy to its people, a thousand members at a time: each step is one transaction.

In the step's transaction the run's lease is checked and its place is noted, so whoever takes over a run whose worker
died goes on behind the last whole step.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.directory.groups import GroupRules, fit_groups, fit_groups_of_others
from accounts.directory.leavers import notify_leavers
from accounts.directory.steps import Step, unsettled
from accounts.models import DirectoryPolicy, PeopleRun, WeComAccount
from accounts.users.companies import settle_primary_accounts
from integrations import directory
from integrations.core.background import repeat_on_conflict
from integrations.models import Corp, Member, SyncRun
from integrations.models.jobs import LeaseLostError

logger = logging.getLogger(__name__)


Clock = Callable[[], datetime]
Status = PeopleRun.Status

STEP = 1000
# Longer than one step takes. A worker that is silent for longer is taken for dead.
LEASE = timedelta(minutes=5)
# So often a run is taken over before it is given up.
CLAIMED_AT_MOST = 5


def people_run_of(run: SyncRun) -> PeopleRun:
    """The second half of a run that is done; made where it is missing."""
    return PeopleRun.objects.get_or_create(run=run)[0]


def unfinished(*, at_most: int = 100) -> list[int]:
    """Keys of SyncRuns of the last copy of each company whose second half has not begun, as far as there are any."""
    done = SyncRun.objects.filter(status=SyncRun.Status.DONE, people_run__isnull=True).order_by("-pk")
    return [pk for pk, corp in done.values_list("pk", "corp_id")[:at_most] if pk == _last_done(corp)]


def claimable(*, now: datetime, at_most: int = 100) -> list[int]:
    """Keys of SyncRuns whose second half is to be begun, or was left by a worker that died."""
    return list(PeopleRun.objects.claimable(now).order_by("pk").values_list("run_id", flat=True)[:at_most])


def apply_run(*, run: SyncRun, clock: Clock) -> PeopleRun | None:
    """Carry out the second half of a finished run. None where another worker has it, or it is over."""
    people_run = _claim(people_run_of(run), clock())
    if people_run is None:
        return None
    corp = run.corp
    try:
        _carry_out(corp, people_run, clock)
    except LeaseLostError:
        logger.warning("people of directory run=%s were taken over by another worker", run.pk)
        return None
    people_run.refresh_from_db()
    logger.info("people of directory run=%s corp=%s counts=%s", run.pk, run.corp_id, people_run.counts)
    return people_run


def _carry_out(corp: Corp, people_run: PeopleRun, clock: Clock) -> None:
    after, rules = people_run.done_up_to, GroupRules(corp)
    policies = DirectoryPolicy.objects.select_related("corp").filter(corp=corp)
    # Read anew for every step: switching it off holds at once.
    while (policy := policies.first()) is not None and not policy.is_off:
        keys = list(corp.members.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:STEP])
        if not keys:
            break
        repeat_on_conflict(partial(_step, people_run, policy, rules, keys, clock))
        after = keys[-1]
    _fit_groups_of_others(corp, people_run, clock)
    with PeopleRun.objects.hold(people_run, until=clock() + LEASE) as held:
        held.finish(Status.DONE, clock())


def _step(people_run: PeopleRun, policy: DirectoryPolicy, rules: GroupRules, keys: list[int], clock: Clock) -> None:
    """`keys`: a stretch of the company's members, in order. Only those are read whom something is to be done for."""
    now, corp = clock(), policy.corp
    with PeopleRun.objects.hold(people_run, until=now + LEASE) as held:
        stretch = corp.members.filter(pk__range=(keys[0], keys[-1]))
        userids = list(stretch.values_list("userid_folded", flat=True))
        accounts = WeComAccount.objects.filter(corp=corp, userid_folded__in=userids)
        user_ids = list(accounts.values_list("user_id", flat=True))
        # Names the people, too, or PostgreSQL would read all accounts and people of the site for each stretch.
        found = unsettled(policy=policy, members=stretch, accounts=accounts.filter(user__in=user_ids))
        members = list(found.order_by("pk"))
        written = apply_to(corp=corp, policy=policy, members=members, now=now, rules=rules, settled_user_ids=user_ids)
        _count(held, written)
        held.done_up_to, held.done_count = keys[-1], held.done_count + len(keys)


def apply_to(
    *,
    corp: Corp,
    policy: DirectoryPolicy,
    members: Sequence[Member],
    now: datetime,
    rules: GroupRules | None = None,
    settled_user_ids: Collection[int] = (),
) -> Counter[str]:
    """Apply the policy to some members, in a transaction of the caller. Returns how much of each kind was written.

    `rules`: which groups the departments bring, where the caller has read them already. `settled_user_ids`: people
    whose groups alone are looked at.
    """
    user_ids, written = set(settled_user_ids), Counter[str]()
    if members:
        step = Step(corp=corp, policy=policy, members=members, now=now)
        written += step.write()
        user_ids |= step.user_ids()
    settle_primary_accounts(user_ids)
    written += fit_groups(corp=corp, user_ids=user_ids, rules=rules)
    notify_leavers(corp=corp, members=members, now=now)
    return written


def _fit_groups_of_others(corp: Corp, people_run: PeopleRun, clock: Clock) -> None:
    after: int | None = 0
    while after is not None:
        with PeopleRun.objects.hold(people_run, until=clock() + LEASE) as held:
            written, after = fit_groups_of_others(corp=corp, after=after)
            _count(held, written)


def _count(held: PeopleRun, written: Counter[str]) -> None:
    total = Counter(held.counts)
    total.update(written)
    held.counts = dict(+total)


@transaction.atomic
def _claim(people_run: PeopleRun, now: datetime) -> PeopleRun | None:
    corp = Corp.objects.select_for_update().get(pk=people_run.run.corp_id)
    claimable = PeopleRun.objects.claimable(now).filter(pk=people_run.pk)
    if _last_done(corp.pk) != people_run.run_id:
        claimable.update(status=Status.OVERTAKEN, finished_at=now)
        return None
    if claimable.filter(try_count__gte=CLAIMED_AT_MOST).update(status=Status.FAILED, finished_at=now):
        logger.error("people of directory run=%s given up", people_run.run_id)
        return None
    others = PeopleRun.objects.filter(run__corp=corp, status=Status.RUNNING, lease_until__gt=now)
    if others.exists():
        return None
    taken = claimable.claim(
        until=now + LEASE,
        status=Status.RUNNING,
        started_at=Coalesce(F("started_at"), now),
        try_count=F("try_count") + 1,
    )
    return PeopleRun.objects.get(pk=people_run.pk) if taken else None


def _last_done(corp_id: int) -> int | None:
    done = SyncRun.objects.filter(corp=corp_id, status=SyncRun.Status.DONE).order_by("-pk")
    return done.values_list("pk", flat=True).first()


# --- When runs begin, and which work is waiting for a worker. A run is two halves: WeCom's copy, then people here ---

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
    keys = [*directory.due_runs(now=now), *claimable(now=now), *unfinished()]
    return list(dict.fromkeys(keys))


def carry_on(*, run_id: int, clock: Callable[[], datetime]) -> None:
    """Both halves of a run, or what is left of them; nothing where another worker is at it."""
    policy = DirectoryPolicy.objects.filter(corp__sync_runs=run_id).first()
    directory.run_sync(run_id=run_id, clock=clock, number_field=policy.number_field if policy is not None else "")
    run = SyncRun.objects.select_related("corp").filter(pk=run_id, status=SyncRun.Status.DONE).first()
    if run is not None:
        apply_run(run=run, clock=clock)
