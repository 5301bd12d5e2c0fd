"""Renames of userids in WeCom: the member stays the same for any order of the events, once WeCom confirms the
rename."""

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations import callbacks
from integrations.core import hooks
from integrations.directory import events, incremental
from integrations.directory.sync import admit_member
from integrations.hooks import Hook
from integrations.models import CallbackEvent, Corp, Member, SyncRun
from tests.integrations.callback_sender import Sender, event_xml
from tests.integrations.directory.place import Directory
from tests.integrations.directory.wecom_events import AES_KEY, CONTACTS, TOKEN, WeComEvents
from tests.jobs import process_due_events
from tests.sandbox_process import CORPID

Presence, Status = Member.Presence, CallbackEvent.Status


@pytest.mark.parametrize(("new", "calls"), [("Li.Lei-2", 2), ("LILEI", 1)])
def test_a_rename_keeps_the_member_and_costs_one_call_for_each_of_its_userids(
    wecom_events: WeComEvents, new: str, calls: int
) -> None:
    before = wecom_events.place.member("LiLei")
    wecom_events.place.rename("LiLei", new)
    wecom_events.place.put_members({"userid": new, "name": "李磊"})
    posts = wecom_events.heard()
    wecom_events.place.calls()

    wecom_events.send(*posts)
    wecom_events.work_off()

    after = wecom_events.place.member(new)
    assert (after.pk, after.userid, after.first_seen_at) == (before.pk, new, before.first_seen_at)
    assert Member.objects.count() == 3
    assert wecom_events.place.calls() == {"user/get": calls}
    assert wecom_events.place.stored() == wecom_events.place.theirs()


def test_of_somebody_who_was_written_meanwhile_wecom_is_asked_anew(wecom_events: WeComEvents) -> None:
    """Ask WeCom again: whoever wrote since the first call has read later than it."""
    member = wecom_events.place.member("LiLei")
    wecom_events.place.rename("LiLei", "li.lei")
    posts = wecom_events.heard()
    wecom_events.place.calls()
    later = wecom_events.clock() + timedelta(minutes=1)
    Member.objects.filter(pk=member.pk).update(name="later", changed_at=later)

    wecom_events.send(*posts)
    wecom_events.work_off()

    assert wecom_events.place.calls() == {"user/get": 4}
    assert wecom_events.place.stored() == wecom_events.place.theirs()


def test_renames_in_a_row_may_come_in_any_order(wecom_events: WeComEvents) -> None:
    before = wecom_events.place.member("jim").pk
    for old, new in [("jim", "jimmy"), ("jimmy", "james"), ("james", "jim.green")]:
        wecom_events.place.rename(old, new)
    told = [one for one in wecom_events.heard() if one.address == "contacts-events"]

    for post in reversed(told):
        wecom_events.send(post)
    wecom_events.work_off()

    assert wecom_events.place.member("jim.green").pk == before
    assert wecom_events.place.stored() == wecom_events.place.theirs()


def test_two_people_who_change_userids_one_after_the_other(wecom_events: WeComEvents) -> None:
    keys = {one: wecom_events.place.member(one).pk for one in ("LiLei", "jim")}
    for old, new in [("LiLei", "tmp"), ("jim", "LiLei"), ("tmp", "jim")]:
        wecom_events.place.rename(old, new)
        wecom_events.hear()

    assert wecom_events.place.member("jim").pk == keys["LiLei"]
    assert wecom_events.place.member("LiLei").pk == keys["jim"]
    assert wecom_events.place.stored() == wecom_events.place.theirs()


def list_waiting(wecom_events: WeComEvents) -> set[str]:
    members = Member.objects.filter(corp=wecom_events.place.corp, waits_since__isnull=False)
    return set(members.values_list("userid_folded", flat=True))


def test_userids_that_were_exchanged_before_anybody_looked_wait_for_an_administrator(wecom_events: WeComEvents) -> None:
    """Leave both to an administrator, because WeCom shows both userids as before: only the events tell of the
    exchange."""
    for old, new in [("LiLei", "tmp"), ("jim", "LiLei"), ("tmp", "jim")]:
        wecom_events.place.rename(old, new)
    wecom_events.hear()

    assert list_waiting(wecom_events) == {"lilei", "jim"}
    assert wecom_events.place.stored() == wecom_events.place.theirs()


def forge(wecom_events: WeComEvents, **elements: str) -> None:
    """Send an event as anybody with the keys can write it."""
    wecom_events.clock.now = timezone.now()
    sender = Sender(f"/wecom/{wecom_events.place.corp.pk}/{CONTACTS}/", TOKEN, AES_KEY, receiveid=CORPID)
    created_at = int(wecom_events.clock.now.timestamp())
    plain = event_xml(corpid=CORPID, created_at=created_at, ChangeType="update_user", **elements)
    assert sender.post(plain).status_code == 200


@pytest.mark.parametrize("seems_explained", [False, True])
def test_a_rename_that_wecom_does_not_know_of_moves_nobody(wecom_events: WeComEvents, seems_explained: bool) -> None:
    before = {one.userid: one.pk for one in Member.objects.all()}
    if seems_explained:
        forge(wecom_events, UserID="invented", NewUserID="LiLei")
    forge(wecom_events, UserID="LiLei", NewUserID="jim")
    wecom_events.work_off()

    assert {one.userid: one.pk for one in Member.objects.all()} == before
    assert list_waiting(wecom_events) == {"lilei"}


def test_a_doubt_that_was_answered_is_not_raised_again_by_a_repeat(wecom_events: WeComEvents) -> None:
    forge(wecom_events, UserID="LiLei", NewUserID="jim")
    wecom_events.work_off()
    assert admit_member(member=wecom_events.place.member("LiLei"), now=wecom_events.clock())
    CallbackEvent.objects.exclude(consumer="").update(status=Status.WAITING)
    wecom_events.work_off()

    assert list_waiting(wecom_events) == set()


def test_a_rename_to_a_userid_that_does_not_exist_is_none(wecom_events: WeComEvents) -> None:
    wecom_events.place.delete_member("LiLei")
    wecom_events.heard()
    forge(wecom_events, UserID="LiLei", NewUserID="invented")
    wecom_events.work_off()

    assert wecom_events.place.member("LiLei").presence == Presence.DELETED
    assert not Member.objects.filter(userid_folded="invented").exists()


def test_somebody_has_something_against_a_rename(wecom_events: WeComEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat a refused rename as somebody deleted and somebody who joined."""

    def refuse(_corp: Corp, old: str, new: str) -> None:
        if (old, new) == ("LiLei", "Lei"):
            raise hooks.RenameRefusedError

    monkeypatch.setattr(hooks, "member_renamed", Hook())
    hooks.member_renamed.register(refuse)
    before = wecom_events.place.member("LiLei").pk
    wecom_events.place.rename("LiLei", "Lei")
    wecom_events.place.rename("jim", "james")
    wecom_events.hear()

    assert wecom_events.place.member("Lei").pk != before
    assert wecom_events.place.member("LiLei").presence == Presence.DELETED
    assert wecom_events.place.stored() == wecom_events.place.theirs()


def test_a_rename_that_is_told_after_the_new_userid_was_seen(wecom_events: WeComEvents) -> None:
    """Let an event about the new userid come first, which looks like a joiner."""
    place, before = wecom_events.place, wecom_events.place.member("LiLei").pk
    place.rename("LiLei", "Lei")
    renamed = wecom_events.heard()
    place.put_members({"userid": "Lei", "name": "李雷雷"})
    wecom_events.hear()
    assert place.member("Lei").pk != before

    wecom_events.send(*renamed)
    wecom_events.work_off()

    assert (place.member("Lei").pk, place.member("Lei").name) == (before, "李雷雷")
    assert wecom_events.place.member("LiLei").presence == Presence.DELETED
    assert place.stored() == place.theirs()


def test_a_rename_waits_for_the_one_that_frees_its_userid(wecom_events: WeComEvents, place: Directory) -> None:
    keys = {one: place.member(one).pk for one in ("LiLei", "jim")}
    place.rename("jim", "james")
    freed = wecom_events.heard()
    place.rename("LiLei", "jim")
    wecom_events.send(*wecom_events.heard())
    process_due_events(wecom_events.clock)
    assert place.member("LiLei").pk == keys["LiLei"]
    assert place.member("LiLei").presence == Presence.IN_SCOPE

    wecom_events.send(*freed)
    wecom_events.work_off()

    assert (place.member("james").pk, place.member("jim").pk) == (keys["jim"], keys["LiLei"])
    assert place.stored() == place.theirs()


def test_a_rename_whose_userid_is_never_freed_takes_it(wecom_events: WeComEvents, place: Directory) -> None:
    """Lose the event before it. The former owner of the userid is gone here: in WeCom it is another person's."""
    keys = {one: place.member(one).pk for one in ("LiLei", "jim")}
    place.rename("jim", "james")
    wecom_events.heard()
    place.rename("LiLei", "jim")
    wecom_events.hear()

    assert place.member("jim").pk == keys["LiLei"]
    gone = place.member("LiLei")
    assert (gone.pk, gone.presence) == (keys["jim"], Presence.DELETED)


def work_once(wecom_events: WeComEvents) -> None:
    """Do one turn of a worker, without time for another."""
    process_due_events(wecom_events.clock)


def test_a_second_rename_that_is_told_after_the_first_was_looked_up(wecom_events: WeComEvents) -> None:
    """Take nobody for gone before the second rename comes: WeCom knows neither userid of the first one any more."""
    place, before = wecom_events.place, wecom_events.place.member("LiLei").pk
    place.rename("LiLei", "Lei")
    first = wecom_events.heard()
    place.rename("Lei", "Lei2")
    second = wecom_events.heard()
    wecom_events.send(*first)
    work_once(wecom_events)
    assert wecom_events.place.member("LiLei").presence == Presence.IN_SCOPE

    wecom_events.send(*second)
    wecom_events.work_off()

    assert (place.member("Lei2").pk, place.member("Lei2").presence) == (before, Presence.IN_SCOPE)
    assert place.stored() == place.theirs()


def test_an_event_that_is_worked_off_after_the_userid_changed_waits_for_the_rename(wecom_events: WeComEvents) -> None:
    place, before = wecom_events.place, wecom_events.place.member("jim").pk
    place.put_members({"userid": "jim", "position": "经理"})
    earlier = wecom_events.heard()
    place.rename("jim", "james")
    renamed = wecom_events.heard()
    wecom_events.send(*earlier)
    work_once(wecom_events)
    assert wecom_events.place.member("jim").presence == Presence.IN_SCOPE

    wecom_events.send(*renamed)
    wecom_events.work_off()

    assert place.member("james").pk == before
    assert place.stored() == place.theirs()


def test_a_rename_in_a_later_batch_comes_before_an_event_that_was_repeated_during_a_run(
    wecom_events: WeComEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Take nobody for gone whose rename has arrived, however often an earlier event about them was looked up."""
    monkeypatch.setattr(callbacks, "BATCH", 1)
    place, before = wecom_events.place, wecom_events.place.member("jim").pk
    run = place.request()
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.Status.RUNNING)
    place.put_members({"userid": "jim", "position": "经理"})
    wecom_events.send(*wecom_events.heard())
    for _look in range(incremental.UNEXPLAINED_TRIES):
        work_once(wecom_events)
        wecom_events.clock.now += events.AFTER_RUN
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.Status.DONE)

    place.rename("jim", "james")
    wecom_events.hear()

    assert place.member("james").pk == before
    assert place.stored() == place.theirs()


def test_who_is_gone_without_a_word_is_deleted_after_some_seconds(wecom_events: WeComEvents, place: Directory) -> None:
    place.put_members({"userid": "jim", "position": "经理"})
    posts = wecom_events.heard()
    place.delete_member("jim")
    wecom_events.heard()
    begun = wecom_events.clock.now

    wecom_events.send(*posts)
    wecom_events.work_off()

    assert place.member("jim").presence == Presence.DELETED
    assert timedelta(seconds=5) < wecom_events.clock.now - begun < timedelta(minutes=1)


def test_who_has_left_by_an_event_is_deleted_at_once(wecom_events: WeComEvents) -> None:
    wecom_events.place.delete_member("jim")
    wecom_events.send(*wecom_events.heard())
    work_once(wecom_events)

    assert wecom_events.place.member("jim").presence == Presence.DELETED
    assert not CallbackEvent.objects.waiting().filter(consumer=events.CONSUMER_NAME).exists()


def test_an_old_rename_does_not_move_who_has_the_userid_now(wecom_events: WeComEvents, place: Directory) -> None:
    """Repeat it at the other address an hour later, when the userid is somebody else's."""
    place.rename("jim", "james")
    heard = wecom_events.heard()
    wecom_events.send(*heard)
    wecom_events.work_off()
    clock = wecom_events.clock
    clock.now += timedelta(hours=1)
    place.put_members({"userid": "jim", "name": "新人", "department": [2]})
    wecom_events.hear()
    key = place.member("jim").pk
    CallbackEvent.objects.all().delete()

    wecom_events.send(*heard)
    wecom_events.work_off()

    assert place.member("jim").pk == key
    assert (place.member("jim").name, place.member("jim").presence) == ("新人", Presence.IN_SCOPE)


def test_followers_hear_of_a_rename_in_its_transaction(
    wecom_events: WeComEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undo and retry the rename if a follower fails."""
    monkeypatch.setattr(hooks, "member_renamed", Hook())
    seen: list[tuple[str, str]] = []

    def follower(corp: Corp, old: str, new: str) -> None:
        seen.append((old, new))
        if len(seen) == 1:
            raise RuntimeError

    hooks.member_renamed.register(follower)
    wecom_events.place.rename("LiLei", "Lei")
    wecom_events.send(*(one for one in wecom_events.heard() if one.address == "contacts-events"))
    process_due_events(wecom_events.clock)
    assert wecom_events.place.member("LiLei").presence == Presence.IN_SCOPE

    wecom_events.work_off()

    assert seen == [("LiLei", "Lei")] * 2
    assert wecom_events.place.member("Lei").presence == Presence.IN_SCOPE
