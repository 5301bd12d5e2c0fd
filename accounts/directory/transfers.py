"""Transfers everybody of one company to another in the background: request, one worker, progress.

Each step is a transaction that moves some accounts and notes that in the move's row, so whoever takes over a move whose
worker died goes on behind the last whole step, and a repeat does nothing twice. Each step asks anew what the person who
asked for it may do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, Q

from accounts.audit import services
from accounts.directory import transfer_batches
from accounts.models import PeopleMove, User, WeComAccount
from accounts.users.scopes import people_changeable_by
from integrations.core.background import repeat_on_conflict
from integrations.models import Corp
from integrations.models.jobs import LeaseLostError

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Status = PeopleMove.Status

# Whoever has these may change people's two attributes.
PERMISSIONS = ("accounts.change_user", "accounts.change_wecomaccount")
# Longer than one step takes. A worker that is silent for longer is taken for dead.
LEASE = timedelta(minutes=2)
# So often a move is taken over without a step done since, before it is given up.
CLAIMED_AT_MOST = 5


class InTheWayError(Exception):
    """People are being moved into `source`, or out of `target`, by `move`: the two would carry some of them further."""

    def __init__(self, move: PeopleMove) -> None:
        super().__init__(move.pk)
        self.move = move


@transaction.atomic
def request_move(
    *, source: Corp, target: Corp, requested_by: User, ip: str | None, now: datetime
) -> tuple[PeopleMove, bool]:
    """The move between the two that is under way, or a new one, for a worker to carry out: queue it. And if it is new.

    Raises InTheWayError until another move that ends where this one begins, or begins where it ends, is over.
    """
    # Both, and always in the same order: two who ask at the same moment see each other's move.
    list(Corp.objects.select_for_update().filter(pk__in=[source.pk, target.pk]).order_by("pk").values_list("pk"))
    unfinished = PeopleMove.objects.unfinished()
    under_way = unfinished.filter(source=source, target=target).first()
    if under_way is not None:
        return under_way, False
    in_the_way = unfinished.filter(Q(target=source) | Q(source=target)).select_related("source", "target").first()
    if in_the_way is not None:
        raise InTheWayError(in_the_way)
    accounts = WeComAccount.objects.filter(corp=source)
    move = PeopleMove.objects.create(
        source=source,
        target=target,
        requested_by=requested_by,
        requested_by_name=str(requested_by)[:255],
        ip=ip,
        requested_at=now,
        last_account=accounts.aggregate(last=Max("pk"))["last"] or 0,
        total_count=accounts.count(),
    )
    return move, True


def waiting_for_a_worker(*, now: datetime, at_most: int = 100) -> list[int]:
    """Keys of moves to queue: new, or left by a worker that died. Queued twice does no harm."""
    return PeopleMove.objects.keys_to_queue(now, at_most=at_most)


def carry_out(*, move_id: int, clock: Clock) -> PeopleMove | None:
    """Carry out one move, or what is left of it. None where another worker has it, or it is over."""
    move = _claim(move_id, clock())
    if move is None:
        return None
    try:
        while move.is_unfinished:
            move = repeat_on_conflict(partial(_step, move, clock))
    except LeaseLostError:
        logger.warning("move=%s was taken over by another worker", move_id)
        return None
    logger.info("move=%s %s moved=%s of=%s", move.pk, move.status, move.moved_count, move.total_count)
    return move


def purge(*, now: datetime) -> int:
    """Forget the moves that ended longer ago than the audit trail, which tells of each account, is kept."""
    end = now - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    return PeopleMove.objects.filter(finished_at__lt=end).delete()[0]


def change_of(move: PeopleMove) -> transfer_batches.Change:
    """What became of the people so far."""
    taken, there = (transfer_batches.Left(*move.left.get(name, (0, []))) for name in ("taken", "there"))
    return transfer_batches.Change(move.moved_count, taken, there)


def _claim(move_id: int, now: datetime) -> PeopleMove | None:
    claimable = PeopleMove.objects.claimable(now).filter(pk=move_id)
    if claimable.filter(try_count__gte=CLAIMED_AT_MOST).update(status=Status.STOPPED, finished_at=now):
        logger.error("move=%s given up", move_id)
        return None
    taken = claimable.claim(until=now + LEASE, status=Status.RUNNING, try_count=F("try_count") + 1)
    return PeopleMove.objects.get(pk=move_id) if taken else None


def _step(move: PeopleMove, clock: Clock) -> PeopleMove:
    """The next accounts, or the end; returns the row as it is then."""
    now = clock()
    with PeopleMove.objects.select_related("source", "target").hold(move, until=now + LEASE) as held:
        requested_by = _who_may(held)
        account_ids = _next_accounts(held)
        if requested_by is None or not account_ids:
            held.finish(Status.STOPPED if requested_by is None else Status.DONE, now)
        else:
            _move(held, requested_by, account_ids)
    return held


def _move(held: PeopleMove, requested_by: User, account_ids: list[int]) -> None:
    people = people_changeable_by(requested_by)
    with services.on_behalf(requested_by, held.ip):
        done = transfer_batches.move_step(
            people=people, source=held.source, target=held.target, account_ids=account_ids
        )
    total = change_of(held)
    total.add(done)
    held.moved_count = total.changed_count
    held.left = {
        "taken": [total.taken.count, total.taken.names],
        "there": [total.there.count, total.there.names],
    }
    held.done_up_to, held.done_count = account_ids[-1], held.done_count + len(account_ids)
    held.try_count = 0  # it gets on, however many workers a long one takes


def _next_accounts(move: PeopleMove) -> list[int]:
    accounts = WeComAccount.objects.filter(corp=move.source_id, pk__gt=move.done_up_to, pk__lte=move.last_account)
    return list(accounts.order_by("pk").values_list("pk", flat=True)[: transfer_batches.STEP])


def _who_may(move: PeopleMove) -> User | None:
    """Who asked for the move, with the rights of today; None once they may not move these people any more."""
    person = move.requested_by  # read with the row, which each step reads anew
    if person is None or not (person.is_active and person.is_staff and person.has_perms(PERMISSIONS)):
        return None
    seen = Corp.objects.visible_to(person).filter(pk__in=[move.source_id, move.target_id])
    return person if seen.count() == len({move.source_id, move.target_id}) else None
