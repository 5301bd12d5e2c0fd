"""Both halves of a run of the tests' company, and what people here have come to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from accounts.directory.sync import apply_run
from accounts.models import DirectoryPolicy, LinkConflict, PeopleRun, User, WeComAccount
from integrations.directory import JOB
from integrations.models import Corp, Job, SyncRun
from tests.integrations.directory.place import Directory
from tests.jobs import put_back, take_job


def apply(run: SyncRun, clock: Callable[[], datetime]) -> PeopleRun:
    """Let a worker do the second half of a run that is done."""
    job = take_job(Job.objects.filter(kind=JOB, key=str(run.corp_id)).latest("pk"), clock)
    done = apply_run(run=run, job=job)
    put_back(job, is_over=True)
    return done


class People:
    def __init__(self, place: Directory) -> None:
        self.place, self.corp = place, place.corp
        self.policy = DirectoryPolicy.objects.create(corp=place.corp, mode="link")

    def set_policy(self, **values: Any) -> None:
        DirectoryPolicy.objects.filter(pk=self.policy.pk).update(**values)

    def sync(self) -> PeopleRun:
        """Both halves, whatever the first asks."""
        done = apply(self.place.sync_saying_yes(), self.place.clock)
        assert done.status == PeopleRun.Status.DONE
        return done

    def counts(self) -> dict[str, int]:
        return {name: count for name, count in self.sync().counts.items() if count}

    def put(self, userid: str, **values: Any) -> None:
        """A member as the sandbox is told of them."""
        self.place.put_members({"userid": userid, "name": userid, "department": [1], **values})

    def conflicts(self) -> dict[str, str]:
        return dict(LinkConflict.objects.values_list("member__userid", "reason"))


def links(corp: Corp) -> dict[str, str]:
    """Username to userid, of everybody who is linked."""
    accounts = WeComAccount.objects.complete().filter(corp=corp)
    return dict(accounts.values_list("user__username", "userid"))


def make(username: str, **values: Any) -> User:
    """Somebody without a password."""
    user = User(username=username, **values)
    user.set_unusable_password()
    user.save()
    return user
