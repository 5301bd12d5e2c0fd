"""kill -9 while the directory is applied to people: in a run's second half, and in events.

However often and wherever workers die, the result is that of one worker that lived, and the trail has each change
once. (The first half, the copy, has its own kills: tests/integrations/directory/test_lease.py.)
"""

import random
from collections import Counter

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.models import AuditEntry, DepartmentGroup, GivenGroup, User, WeComAccount
from integrations.directory.sync import JOB
from integrations.jobs.requests import request_job
from integrations.models import CallbackEvent, Department, SyncRun
from tests.accounts.directory.people_of import People, links
from tests.accounts.dying import Workers
from tests.integrations.directory.place import Directory
from tests.integrations.directory.wecom_events import WeComEvents
from tests.nightly import nightly

pytestmark = [nightly, pytest.mark.processes, pytest.mark.django_db(transaction=True)]

KILLS = 20
# Workers may end before the chosen moment; so many are tried.
ROUNDS_AT_MOST = 60
SALES, BELOW_SALES, FINANCE = 2, 3, 4


class Company:
    """The sandbox's company in which people come and go, and the expected people here."""

    def __init__(self, place: Directory) -> None:
        self.place = place
        self.chance = random.Random(20261125)  # noqa: S311  # moments and people, not secrets
        self.userids = {"LiLei": "LiLei", "hanmeimei": "hanmeimei", "jim": "jim"}
        self.leavers: set[str] = set()
        self._number = 0

    def join(self, count: int) -> None:
        names = [f"p{self._number + one}" for one in range(count)]
        self._number += count
        self.place.put_members(*({"userid": one, "name": one.upper(), "department": [SALES]} for one in names))
        self.userids |= {one: one for one in names}

    def leave(self) -> None:
        """Delete a member. Expect nobody disabled whom no run has created yet."""
        username = self._somebody()
        self.place.delete_member(self.userids.pop(username))
        self.leavers |= {username} if User.objects.filter(username=username).exists() else set()

    def leave_known(self) -> None:
        username = self._somebody_known()
        self.place.delete_member(self.userids.pop(username))
        self.leavers.add(username)

    def move(self) -> None:
        userid = self.userids[self._somebody()]
        self.place.put_members({"userid": userid, "name": f"{userid} moved", "department": [FINANCE]})

    def rename_known(self) -> None:
        username = self._somebody_known()
        self._number += 1
        self.place.rename(self.userids[username], f"r{self._number}")
        self.userids[username] = f"r{self._number}"

    def _somebody(self) -> str:
        return self.chance.choice(sorted(self.userids))

    def _somebody_known(self) -> str:
        """Choose a member who is a user. With others the username depends on which half a worker does first."""
        users = set(User.objects.values_list("username", flat=True))
        return self.chance.choice(sorted(self.userids.keys() & users))


def check_people(company: Company) -> None:
    """Assert that people here match the company, and that the trail says each thing once."""
    place = company.place
    theirs = place.theirs()
    assert place.stored() == theirs
    assert links(place.corp) == company.userids
    active = dict(User.objects.values_list("username", "is_active"))
    assert active == {**dict.fromkeys(company.userids, True), **dict.fromkeys(company.leavers, False)}
    names = dict(WeComAccount.objects.complete().values_list("userid", "user__name"))
    assert names == {userid: name for userid, name, _status, _departments in theirs.values()}
    said = Counter(str(changes) for changes in AuditEntry.objects.values_list("changes", flat=True))
    assert {said[str([["username", None, one]])] for one in active} == {1}
    assert said["[['is_active', True, False]]"] == len(company.leavers)


@pytest.fixture
def sales(people: People) -> Group:
    """The group of everybody in sales or the department below it."""
    people.place.sync_saying_yes()
    group = Group.objects.create(name="sales")
    department = Department.objects.get(corp=people.corp, wecom_department_id=SALES)
    DepartmentGroup.objects.create(department=department, group=group)
    return group


def test_kills_while_the_policy_is_applied(workers: Workers, people: People, sales: Group) -> None:
    """Kill three workers in each run; then the directory changes, and another run follows."""
    people.set_policy(mode="create")
    company = Company(people.place)
    company.join(40)
    copy(company)
    killed, found = 0, []
    for _round in range(ROUNDS_AT_MOST):
        died = not workers.work("people", dies_at=company.chance.randrange(1, 250))
        killed += died
        found += [SyncRun.objects.latest("pk")] if died else []
        if killed == KILLS:
            break
        if not died or killed % 3 == 0:
            company.join(3)
            company.leave()
            company.move()
            copy(company)

    assert workers.work("people")
    assert killed == KILLS
    check_people(company)
    assert SyncRun.objects.latest("pk").applied_at is not None
    theirs = people.place.theirs().values()
    in_sales = {userid for userid, _name, _status, departments in theirs if departments & {SALES, BELOW_SALES}}
    given = GivenGroup.objects.filter(group=sales).values_list("user__wecom_accounts__userid", flat=True)
    assert sorted(given) == sorted(in_sales)
    assert set(sales.user_set.values_list("wecom_accounts__userid", flat=True)) == in_sales
    # Some died after the first step.
    assert any(run.applied_at is None and run.applied_count for run in found)
    changes_nothing(company, workers)


def copy(company: Company) -> None:
    place = company.place
    place.clock.now = max(place.clock.now, timezone.now())
    place.sync_saying_yes()
    request_job(JOB, key=place.corp.pk, corp=place.corp, now=timezone.now())  # the second half


def changes_nothing(company: Company, workers: Workers) -> None:
    """Assert that another run of the same directory changes nothing."""
    before = AuditEntry.objects.count()
    copy(company)
    assert workers.work("people")
    assert SyncRun.objects.latest("pk").applied_counts == {}
    assert AuditEntry.objects.count() == before


def test_kills_over_events(workers: Workers, wecom_events: WeComEvents) -> None:
    """Let somebody join, leave, move or get another userid before each worker."""
    company = Company(wecom_events.place)
    wecom_events.is_quick = False
    what_happens = [company.leave_known, company.move, company.rename_known]
    company.join(12)
    killed = 0
    for number in range(ROUNDS_AT_MOST):
        what_happens[number % 3]()
        company.join(1)
        wecom_events.send(*wecom_events.heard())
        died = not workers.work("events", dies_at=company.chance.randrange(1, 200))
        killed += died
        if killed == KILLS:
            break

    for _again in range(12):
        assert workers.work("events")
    assert killed == KILLS
    assert set(CallbackEvent.objects.exclude(consumer="").values_list("status", flat=True)) == {"done"}
    check_people(company)
    changes_nothing(company, workers)
