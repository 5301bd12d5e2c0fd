"""The consumer of WeCom's events that applies a company's policy at once to the people concerned (phase two).

It comes after the copy of the directory (`integrations.directory.events`), and does with the members whom that has
changed what a run does with all of them.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction

from accounts.directory.applying import STEP, TRIES, apply_to
from accounts.models import DirectoryPolicy
from integrations.directory.events import NAME as COPY
from integrations.directory.told import is_about_directory
from integrations.events.lanes import touched_by
from integrations.events.registry import Batch, Consumer, Outcome
from integrations.models import Member

NAME = "accounts.people"


def consume(batch: Batch) -> Outcome:
    """Link, create, update, unlink and disable, as far as the policy says so."""
    touched = touched_by(consumer=COPY, events=batch.events)
    for start in range(0, len(touched), STEP):
        _apply(batch, touched[start : start + STEP])
    return Outcome(touched)


def _apply(batch: Batch, keys: list[int]) -> None:
    for remaining in reversed(range(TRIES)):
        try:
            with transaction.atomic():
                batch.hold()
                policy = DirectoryPolicy.objects.in_force().filter(corp=batch.corp).first()
                members = list(Member.objects.filter(corp=batch.corp, pk__in=keys).order_by("pk"))
                if policy is not None:
                    apply_to(corp=batch.corp, policy=policy, members=members, now=batch.clock())
        except IntegrityError:
            # Somebody else has just saved one of these people; done again, the step sees it.
            if not remaining:
                raise
        else:
            return


PEOPLE_CONSUMER = Consumer(name=NAME, wants=is_about_directory, consume=consume, after=COPY)
