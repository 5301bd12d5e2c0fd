"""Events of WeCom bring the copy up to date: the sandbox tells, our addresses take it, workers look and write."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations.directory import admit_member, events, request_run, run_sync
from integrations.directory.followers import register_rename_follower, register_rename_guard
from integrations.events.consuming import work_through
from integrations.models import CallbackEvent, Corp, EventWork, Member, SyncRun
from tests.integrations.callback_sender import Sender, event_xml
from tests.integrations.directory.place import Directory
from tests.integrations.directory.telling import AES_KEY, CONTACTS, TOKEN, Telling
from tests.sandbox import AGENTID, CORPID

Presence, Status = Member.Presence, EventWork.Status
APP = f"companies/{CORPID}/apps/{AGENTID}"


def presence(telling: Telling, userid: str) -> str:
    return telling.place.member(userid).presence


def no_write(telling: Telling) -> list[tuple[object, ...]]:
    """Everything that is stored of the directory."""
    return [*Member.objects.order_by("pk").values_list(), *telling.place.stored_departments().items()]


# --- People -----------------------------------------------------------------------------------------------------------


def test_somebody_who_joins(telling: Telling) -> None:
    telling.place.put_members({"userid": "Wang.Wu", "name": "王五", "department": [2, 4]})
    telling.hear()

    assert telling.place.stored()["wang.wu"] == ("Wang.Wu", "王五", "active", frozenset({2, 4}))
    assert telling.place.stored() == telling.place.theirs()


def test_somebody_who_moves(telling: Telling) -> None:
    telling.place.put_members({"userid": "jim", "department": [3]})
    telling.hear()

    assert telling.place.stored()["jim"][3] == frozenset({3})


def test_a_change_costs_a_call_for_each_person_and_no_list(telling: Telling) -> None:
    """Nobody enters or leaves the scope, so that the departments are believed to be as they were."""
    telling.place.put_members({"userid": "jim", "department": [3]}, {"userid": "LiLei", "name": "李磊"})
    telling.hear()

    assert telling.place.calls() == {"user/get": 2}
    assert telling.place.stored()["lilei"][1] == "李磊"


def test_somebody_who_leaves_the_company(telling: Telling) -> None:
    telling.place.delete_member("LiLei")
    telling.hear()

    member = telling.place.member("LiLei")
    assert member.presence == Presence.DELETED
    assert member.left_at is not None


def test_somebody_who_is_disabled_and_enabled(telling: Telling) -> None:
    telling.place.put_members({"userid": "LiLei", "status": 2})
    telling.hear()
    assert telling.place.member("LiLei").status == Member.Status.DISABLED

    telling.place.put_members({"userid": "LiLei", "status": 1})
    telling.hear()
    assert telling.place.member("LiLei").status == Member.Status.ACTIVE


def test_somebody_who_comes_back_after_being_deleted_waits(telling: Telling) -> None:
    telling.place.delete_member("LiLei")
    telling.hear()
    telling.place.put_members({"userid": "LiLei", "name": "另一个人", "department": [2]})
    telling.hear()

    member = telling.place.member("LiLei")
    assert (member.presence, member.waits_since is not None) == (Presence.HERE, True)


def test_leaving_and_entering_the_scope(telling: Telling) -> None:
    """The app's address alone tells this, by subscribe and unsubscribe."""
    telling.place.set_scope(partyids=[2])
    telling.hear()
    assert presence(telling, "jim") == Presence.OUT_OF_SCOPE
    assert presence(telling, "hanmeimei") == Presence.HERE

    telling.place.set_scope(partyids=[1])
    telling.hear()
    assert presence(telling, "jim") == Presence.HERE
    assert telling.place.stored() == telling.place.theirs()
    assert telling.place.stored_departments() == telling.place.their_departments()


def test_a_member_of_a_tag_that_the_scope_names(telling: Telling) -> None:
    telling.place.set_scope(partyids=[2], tagids=[1])
    telling.hear()
    assert presence(telling, "jim") == Presence.OUT_OF_SCOPE

    tag = {"tagid": 1, "tagname": "值班", "userids": ["LiLei", "jim"], "partyids": [3]}
    telling.place.sandbox.control("POST", f"companies/{CORPID}/tags", [tag])
    heard = [one for one in telling.heard() if one.address == "contacts-events"]
    telling.tell(*heard)
    telling.work_off()

    assert presence(telling, "jim") == Presence.HERE


def test_a_tag_that_the_scope_does_not_name_costs_one_call(telling: Telling) -> None:
    tag = {"tagid": 1, "tagname": "值班", "userids": ["jim"], "partyids": [3]}
    telling.place.sandbox.control("POST", f"companies/{CORPID}/tags", [tag])
    telling.hear()

    assert telling.place.calls() == {"agent/get": 1}


def test_departments_of_a_tag_of_the_scope_ask_for_a_run(telling: Telling) -> None:
    telling.place.set_scope(partyids=[1], tagids=[1])
    telling.hear()

    tag = {"tagid": 1, "tagname": "值班", "userids": [], "partyids": [4]}
    telling.place.sandbox.control("POST", f"companies/{CORPID}/tags", [tag])
    telling.hear()

    assert SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT, status=SyncRun.Status.WAITING).count() == 1


# --- Departments ------------------------------------------------------------------------------------------------------


def test_departments_that_are_made_renamed_moved_and_closed(telling: Telling) -> None:
    place = telling.place
    place.put_departments({"id": 5, "name": "研发部", "parentid": 1}, {"id": 6, "name": "前端", "parentid": 5})
    telling.hear()
    assert place.stored_departments() == place.their_departments()

    place.put_departments({"id": 6, "name": "前端组", "parentid": 4})
    telling.hear()
    assert place.stored_departments()[6] == ("前端组", 4)

    place.sandbox.control("DELETE", f"companies/{CORPID}/departments/6")
    telling.hear()
    assert place.stored_departments() == place.their_departments()


def test_a_person_in_a_department_that_was_not_told_of(telling: Telling) -> None:
    place = telling.place
    place.put_departments({"id": 5, "name": "研发部", "parentid": 1})
    telling.heard()  # and lost
    place.put_members({"userid": "jim", "department": [5]})
    telling.hear()

    assert place.stored() == place.theirs()
    assert place.stored_departments() == place.their_departments()


def test_a_department_moved_out_of_the_scope_takes_its_people_along(telling: Telling) -> None:
    place = telling.place
    place.set_scope(partyids=[2])
    telling.hear()
    assert set(place.stored()) == {"lilei", "hanmeimei"}

    place.put_departments({"id": 3, "parentid": 1})
    heard = [one for one in telling.heard() if one.address == "contacts-events"]
    telling.tell(*heard)  # update_party alone
    telling.work_off()
    assert set(place.stored()) == {"lilei"}

    place.put_departments({"id": 3, "parentid": 2})
    heard = [one for one in telling.heard() if one.address == "contacts-events"]
    telling.tell(*heard)
    telling.work_off()
    assert set(place.stored()) == {"lilei", "hanmeimei"}


def test_only_people_of_the_department_roots_are_copied(telling: Telling) -> None:
    place = telling.place.with_roots(2)
    place.sync_saying_yes()
    place.put_members({"userid": "wang", "name": "王", "department": [4]}, {"userid": "LiLei", "department": [4]})
    telling.hear()

    assert not Member.objects.filter(userid_folded="wang").exists()
    assert presence(telling, "LiLei") == Presence.OUT_OF_SCOPE


def test_with_the_contacts_secret_departments_outside_the_scope_are_known(telling: Telling) -> None:
    place = telling.place.with_contacts()
    place.set_scope(partyids=[2])
    telling.hear()
    place.sync_saying_yes()
    place.put_members({"userid": "LiLei", "department": [2, 4]}, {"userid": "wang", "name": "王", "department": [4]})
    telling.hear()

    assert place.stored()["lilei"][3] == frozenset({2, 4})
    assert "wang" not in place.stored()


# --- Renames ----------------------------------------------------------------------------------------------------------


def test_a_rename_keeps_the_member(telling: Telling) -> None:
    before = telling.place.member("LiLei")
    telling.place.rename("LiLei", "Li.Lei-2")
    telling.hear()

    after = telling.place.member("li.lei-2")
    assert (after.pk, after.userid, after.first_seen_at) == (before.pk, "Li.Lei-2", before.first_seen_at)
    assert Member.objects.count() == 3
    assert telling.place.stored() == telling.place.theirs()


def test_a_rename_to_other_letters_of_the_same_userid(telling: Telling) -> None:
    before = telling.place.member("LiLei")
    telling.place.rename("LiLei", "LILEI")
    telling.hear()

    after = telling.place.member("lilei")
    assert (after.pk, after.userid, after.presence) == (before.pk, "LILEI", Presence.HERE)


def test_renames_in_a_row_may_come_in_any_order(telling: Telling) -> None:
    before = telling.place.member("jim").pk
    for old, new in [("jim", "jimmy"), ("jimmy", "james"), ("james", "jim.green")]:
        telling.place.rename(old, new)
    told = [one for one in telling.heard() if one.address == "contacts-events"]

    for post in reversed(told):
        telling.tell(post)
    telling.work_off()

    assert telling.place.member("jim.green").pk == before
    assert telling.place.stored() == telling.place.theirs()


def test_two_people_who_change_userids_one_after_the_other(telling: Telling) -> None:
    keys = {one: telling.place.member(one).pk for one in ("LiLei", "jim")}
    for old, new in [("LiLei", "tmp"), ("jim", "LiLei"), ("tmp", "jim")]:
        telling.place.rename(old, new)
        telling.hear()

    assert telling.place.member("jim").pk == keys["LiLei"]
    assert telling.place.member("LiLei").pk == keys["jim"]
    assert telling.place.stored() == telling.place.theirs()


def waiting(telling: Telling) -> set[str]:
    members = Member.objects.filter(corp=telling.place.corp).waiting_for_administrator()
    return set(members.values_list("userid_folded", flat=True))


def test_userids_that_were_exchanged_before_anybody_looked_wait_for_an_administrator(telling: Telling) -> None:
    """WeCom shows both userids as before: nothing but the events says that they are other people's."""
    for old, new in [("LiLei", "tmp"), ("jim", "LiLei"), ("tmp", "jim")]:
        telling.place.rename(old, new)
    telling.hear()

    assert waiting(telling) == {"lilei", "jim"}
    assert telling.place.stored() == telling.place.theirs()


def forge(telling: Telling, **elements: str) -> None:
    """An event as anybody can write it who holds the keys."""
    telling.clock.now = timezone.now()
    sender = Sender(f"/wecom/{telling.place.corp.pk}/{CONTACTS}/", TOKEN, AES_KEY, receiveid=CORPID)
    created_at = int(telling.clock.now.timestamp())
    plain = event_xml(corpid=CORPID, created_at=created_at, ChangeType="update_user", **elements)
    assert sender.post(plain).status_code == 200


def test_a_rename_that_wecom_does_not_know_of_moves_nobody(telling: Telling) -> None:
    before = {one.userid: one.pk for one in Member.objects.all()}
    forge(telling, UserID="LiLei", NewUserID="jim")
    telling.work_off()

    assert {one.userid: one.pk for one in Member.objects.all()} == before
    assert waiting(telling) == {"lilei"}


def test_nor_does_one_that_another_seems_to_explain(telling: Telling) -> None:
    before = {one.userid: one.pk for one in Member.objects.all()}
    forge(telling, UserID="invented", NewUserID="LiLei")
    forge(telling, UserID="LiLei", NewUserID="jim")
    telling.work_off()

    assert {one.userid: one.pk for one in Member.objects.all()} == before
    assert waiting(telling) == {"lilei"}


def test_a_doubt_that_was_answered_is_not_raised_again_by_a_repeat(telling: Telling) -> None:
    forge(telling, UserID="LiLei", NewUserID="jim")
    telling.work_off()
    assert admit_member(member=telling.place.member("LiLei"), now=telling.clock())
    EventWork.objects.update(status=Status.WAITING)
    telling.work_off()

    assert waiting(telling) == set()


def test_a_rename_to_a_userid_that_does_not_exist_is_none(telling: Telling) -> None:
    telling.place.delete_member("LiLei")
    telling.heard()
    forge(telling, UserID="LiLei", NewUserID="invented")
    telling.work_off()

    assert presence(telling, "LiLei") == Presence.DELETED
    assert not Member.objects.filter(userid_folded="invented").exists()


def test_somebody_has_something_against_a_rename(telling: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks like somebody deleted and somebody who joined."""
    monkeypatch.setattr("integrations.directory.followers._guards", [])
    register_rename_guard(lambda corp, old, new: (old, new) != ("LiLei", "Lei"))
    before = telling.place.member("LiLei").pk
    telling.place.rename("LiLei", "Lei")
    telling.place.rename("jim", "james")
    telling.hear()

    assert telling.place.member("Lei").pk != before
    assert presence(telling, "LiLei") == Presence.DELETED
    assert telling.place.stored() == telling.place.theirs()


def test_a_rename_that_is_told_after_the_new_userid_was_seen(telling: Telling) -> None:
    """An event about the new userid overtakes the rename: it looked like a joiner."""
    place, before = telling.place, telling.place.member("LiLei").pk
    place.rename("LiLei", "Lei")
    renamed = telling.heard()
    place.put_members({"userid": "Lei", "name": "李雷雷"})
    telling.hear()
    assert place.member("Lei").pk != before

    telling.tell(*renamed)
    telling.work_off()

    assert (place.member("Lei").pk, place.member("Lei").name) == (before, "李雷雷")
    assert presence(telling, "LiLei") == Presence.DELETED
    assert place.stored() == place.theirs()


def test_a_rename_waits_for_the_one_that_frees_its_userid(telling: Telling) -> None:
    place = telling.place
    keys = {one: place.member(one).pk for one in ("LiLei", "jim")}
    place.rename("jim", "james")
    freed = telling.heard()
    place.rename("LiLei", "jim")
    telling.tell(*telling.heard())
    work_through(corp_id=place.corp.pk, consumer=events.NAME, clock=lambda: telling.clock.now)
    assert place.member("LiLei").pk == keys["LiLei"]
    assert presence(telling, "LiLei") == Presence.HERE

    telling.tell(*freed)
    telling.work_off()

    assert (place.member("james").pk, place.member("jim").pk) == (keys["jim"], keys["LiLei"])
    assert place.stored() == place.theirs()


def test_a_rename_whose_userid_is_never_freed_takes_it(telling: Telling) -> None:
    """The event before it was lost. Whoever had the userid here is gone by it: in WeCom it is another person's."""
    place = telling.place
    keys = {one: place.member(one).pk for one in ("LiLei", "jim")}
    place.rename("jim", "james")
    telling.heard()
    place.rename("LiLei", "jim")
    telling.hear()

    assert place.member("jim").pk == keys["LiLei"]
    gone = place.member("LiLei")
    assert (gone.pk, gone.presence) == (keys["jim"], Presence.DELETED)


def test_an_old_rename_does_not_move_who_has_the_userid_now(telling: Telling) -> None:
    """The other address repeats it an hour later, when the userid is somebody else's."""
    place = telling.place
    place.rename("jim", "james")
    heard = telling.heard()
    telling.tell(*heard)
    telling.work_off()
    clock = telling.clock
    clock.now += timedelta(hours=1)
    place.put_members({"userid": "jim", "name": "新人", "department": [2]})
    telling.hear()
    key = place.member("jim").pk
    CallbackEvent.objects.all().delete()

    telling.tell(*heard)
    telling.work_off()

    assert place.member("jim").pk == key
    assert (place.member("jim").name, presence(telling, "jim")) == ("新人", Presence.HERE)


def test_followers_hear_of_a_rename_in_its_transaction(telling: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails undoes it, and it is tried again."""
    monkeypatch.setattr("integrations.directory.followers._followers", [])
    seen: list[tuple[str, str]] = []

    def follower(corp: Corp, old: str, new: str) -> None:
        seen.append((old, new))
        if len(seen) == 1:
            raise RuntimeError

    register_rename_follower(follower)
    telling.place.rename("LiLei", "Lei")
    telling.tell(*(one for one in telling.heard() if one.address == "contacts-events"))
    work_through(corp_id=telling.place.corp.pk, consumer=events.NAME, clock=telling.clock)
    assert presence(telling, "LiLei") == Presence.HERE

    telling.work_off()

    assert seen == [("LiLei", "Lei")] * 2
    assert presence(telling, "Lei") == Presence.HERE


# --- Late, twice, out of order ----------------------------------------------------------------------------------------


def test_a_repeat_an_hour_later_changes_nothing(telling: Telling) -> None:
    telling.place.delete_member("LiLei")
    heard = telling.heard()
    telling.tell(*heard)
    telling.work_off()
    stored, count = no_write(telling), CallbackEvent.objects.count()
    telling.place.calls()
    telling.clock.now += timedelta(hours=1)

    telling.tell(*heard)
    telling.work_off()

    assert (no_write(telling), CallbackEvent.objects.count()) == (stored, count)
    assert telling.place.calls() == {}


def test_old_news_do_not_undo_newer_ones(telling: Telling) -> None:
    """Who left and came back, is told of the wrong way round: WeCom's present word counts."""
    place = telling.place
    place.set_scope(partyids=[2])
    left = telling.heard()
    place.set_scope(partyids=[1])
    telling.tell(*telling.heard())
    telling.work_off()

    telling.tell(*left)
    telling.work_off()

    assert presence(telling, "jim") == Presence.HERE


def test_the_same_directory_told_again_writes_nothing(telling: Telling) -> None:
    telling.place.put_members({"userid": "jim", "department": [3]})
    telling.hear()
    stored = no_write(telling)
    EventWork.objects.update(status=Status.WAITING, done_at=None)

    telling.work_off()

    assert no_write(telling) == stored


def test_events_during_a_run_are_worked_off_again_after_it(telling: Telling) -> None:
    """The run has read already, when somebody leaves: what it read must not win."""
    place = telling.place
    run = request_run(corp=place.corp, trigger=SyncRun.Trigger.NIGHTLY, now=telling.clock())
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.Status.RUNNING, lease_token="another")
    place.delete_member("LiLei")
    telling.tell(*telling.heard())

    work_through(corp_id=place.corp.pk, consumer=events.NAME, clock=telling.clock)
    assert presence(telling, "LiLei") == Presence.DELETED
    assert set(EventWork.objects.filter(consumer=events.NAME).values_list("status", flat=True)) == {Status.WAITING}

    # As if the run had overwritten it meanwhile.
    Member.objects.filter(userid_folded="lilei").update(presence=Presence.HERE, left_at=None)
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.Status.DONE, finished_at=telling.clock())
    telling.work_off()
    assert presence(telling, "LiLei") == Presence.DELETED


def test_a_run_leaves_alone_whom_an_event_has_changed_since_it_began(telling: Telling) -> None:
    """Somebody leaves and is written as gone between the run's reading and its writing: she does not reappear."""
    place = telling.place
    run = place.request()
    left = False
    clock = telling.clock

    def clock_and_leaver() -> object:
        nonlocal left
        running = SyncRun.objects.filter(pk=run.pk, phase=SyncRun.Phase.COMPARING).exists()
        if running and not left:
            left = True
            Member.objects.filter(userid_folded="lilei").update(
                presence=Presence.DELETED, left_at=clock(), changed_at=clock(), name="old"
            )
        return clock()

    run_sync(run_id=run.pk, clock=clock_and_leaver, pause=lambda _seconds: None)  # type: ignore[arg-type]  # a clock

    member = place.member("LiLei")
    assert left
    assert (member.presence, member.waits_since) == (Presence.DELETED, None)


# --- What is not acted on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["disabled", "never copied"])
def test_a_company_whose_directory_is_not_in_use(telling: Telling, why: str) -> None:
    if why == "disabled":
        Corp.objects.update(is_enabled=False)
    else:
        SyncRun.objects.all().delete()
    stored = no_write(telling)
    telling.place.delete_member("LiLei")
    telling.hear()

    assert no_write(telling) == stored
    assert telling.place.calls() == {}
    assert set(EventWork.objects.values_list("status", flat=True)) == {Status.DONE}


def test_more_leavers_than_may_go_unasked_become_a_run_that_asks(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LEAVERS_UNASKED", 1)
    place = telling.place
    place.set_scope(partyids=[3])  # LiLei and jim leave the scope
    telling.hear()

    assert set(place.stored()) == {"lilei", "hanmeimei", "jim"}
    (run,) = SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT)
    assert place.carry_on(run).status == SyncRun.Status.ASKING


def test_leavers_one_by_one_are_counted_together(telling: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LEAVERS_UNASKED", 1)
    for userid in ("LiLei", "jim"):
        telling.place.delete_member(userid)
        telling.hear()

    assert presence(telling, "LiLei") == Presence.DELETED
    assert presence(telling, "jim") == Presence.HERE
    assert SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT).count() == 1


# --- WeCom does not answer --------------------------------------------------------------------------------------------


def test_while_wecom_cannot_be_asked_its_word_of_a_leaver_counts(telling: Telling) -> None:
    place = telling.place
    place.delete_member("LiLei")
    telling.tell(*telling.heard())
    place.sandbox.fault("ip_refused", "user/get", count=None)

    work_through(corp_id=place.corp.pk, consumer=events.NAME, clock=telling.clock)
    assert presence(telling, "LiLei") == Presence.OUT_OF_SCOPE
    assert presence(telling, "jim") == Presence.HERE
    assert set(EventWork.objects.filter(consumer=events.NAME).values_list("status", flat=True)) == {Status.WAITING}

    place.sandbox.control("DELETE", "faults")
    telling.work_off()
    assert presence(telling, "LiLei") == Presence.DELETED


def test_a_word_that_was_wrong_heals(telling: Telling) -> None:
    """The leaver is back before WeCom could be asked."""
    place = telling.place
    place.set_scope(partyids=[2])
    telling.tell(*telling.heard())
    place.sandbox.fault("ip_refused", "*", count=None)
    work_through(corp_id=place.corp.pk, consumer=events.NAME, clock=telling.clock)
    assert presence(telling, "jim") == Presence.OUT_OF_SCOPE

    place.sandbox.control("DELETE", "faults")
    place.set_scope(partyids=[1])
    telling.heard()  # and lost
    telling.work_off()
    assert presence(telling, "jim") == Presence.HERE


def test_a_root_that_is_gone_becomes_a_run_which_says_so(telling: Telling) -> None:
    place: Directory = telling.place.with_roots(99)
    place.put_members({"userid": "jim", "department": [3]})
    telling.hear()

    (run,) = SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT)
    assert place.carry_on(run).problem == "root"
