"""Both halves of a run of the tests' company, and what people here have come to."""

from __future__ import annotations

from typing import Any

from accounts.directory.sync import apply_run
from accounts.models import DirectoryPolicy, LinkConflict, PeopleRun, User, WeComAccount
from integrations.models import Corp
from tests.integrations.directory.place import Directory


class People:
    def __init__(self, place: Directory) -> None:
        self.place, self.corp = place, place.corp
        self.policy = DirectoryPolicy.objects.create(corp=place.corp, mode="link")

    def set_policy(self, **values: Any) -> None:
        DirectoryPolicy.objects.filter(pk=self.policy.pk).update(**values)

    def sync(self) -> PeopleRun:
        """Both halves, whatever the first asks."""
        done = apply_run(run=self.place.sync_saying_yes(), clock=self.place.clock)
        assert done is not None
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
