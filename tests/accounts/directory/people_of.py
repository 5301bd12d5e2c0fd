"""A directory run's halves for the tests' company, and the resulting people."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from accounts.directory.sync import apply_run
from accounts.models import DirectoryPolicy, LinkConflict, User, WeComAccount
from integrations.directory.sync import JOB
from integrations.models import Corp, Job, Member, SyncRun
from tests.accounts.conftest import Visitor, query_of
from tests.integrations.directory.place import Directory
from tests.jobs import return_job, take_job
from tests.notifications.factories import NOW
from tests.sandbox_process import AGENTID, CORPID


def apply(run: SyncRun, clock: Callable[[], datetime]) -> SyncRun:
    """Let a worker do the second half of a finished run."""
    job = take_job(Job.objects.filter(kind=JOB, key=str(run.corp_id)).latest("pk"), clock)
    done = apply_run(run=run, job=job)
    return_job(job, is_over=True)
    return done


class People:
    def __init__(self, place: Directory) -> None:
        self.place, self.corp = place, place.corp
        self.policy = DirectoryPolicy.objects.create(corp=place.corp, mode="link")

    def set_policy(self, **values: Any) -> None:
        DirectoryPolicy.objects.filter(pk=self.policy.pk).update(**values)

    def sync(self) -> SyncRun:
        done = apply(self.place.sync_saying_yes(), self.place.clock)
        assert done.applied_at is not None
        return done

    def counts(self) -> dict[str, int]:
        return {name: count for name, count in self.sync().applied_counts.items() if count}

    def put(self, userid: str, **values: Any) -> None:
        self.place.put_members({"userid": userid, "name": userid, "department": [1], **values})

    def conflicts(self) -> dict[str, str]:
        return dict(LinkConflict.objects.values_list("member__userid", "reason"))


def links(corp: Corp) -> dict[str, str]:
    accounts = WeComAccount.objects.complete().filter(corp=corp)
    return dict(accounts.values_list("user__username", "userid"))


def make(username: str, **values: Any) -> User:
    user = User(username=username, **values)
    user.set_unusable_password()
    user.save()
    return user


def member(corp: Corp, userid: str, **values: Any) -> Member:
    times = {"first_seen_at": NOW, "changed_at": NOW}
    return Member.objects.create(**{"corp": corp, "userid": userid, "userid_folded": userid.lower(), **times, **values})


def open_door(place: Directory) -> None:
    """Make the site's domain the app's trusted one, and let the sandbox sign people in."""
    place.sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"trusted_domain": "bi.example.com"})
    place.corp.authorize_base_url = place.corp.qr_base_url = place.sandbox.base_url
    place.corp.save()


def sign_in(place: Directory, visitor: Visitor, userid: str = "LiLei") -> str:
    """Sign in through WeCom. Return where the person lands."""
    query = query_of(visitor.get(f"/wecom/{place.corp.pk}/start/").headers["Location"])
    visit = {"redirect_uri": query["redirect_uri"], "state": query["state"], "agentid": AGENTID}
    back = urlsplit(place.sandbox.authorize(CORPID, userid, **visit)["url"])
    return visitor.get(f"{back.path}?{back.query}").headers["Location"]


# Ways in which LiLei leaves.


def delete_leaver(people: People) -> None:
    people.place.delete_member("LiLei")


def disable_leaver(people: People) -> None:
    people.put("LiLei", department=[2], status=2)


def move_out_of_scope(people: People) -> None:
    people.place.set_scope(partyids=[3, 4])
