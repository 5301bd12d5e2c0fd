"""Somebody gets another userid in WeCom: the member stays the same, in whatever order the events come, and only where
WeCom confirms it.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations.callbacks.worker import work_through
from integrations.core import hooks
from integrations.directory import admit_member, event_consumer
from integrations.hooks import Hook
from integrations.models import CallbackEvent, Corp, EventWork, Member
from tests.integrations.callback_sender import Sender, event_xml
from tests.integrations.directory.telling import AES_KEY, CONTACTS, TOKEN, Telling
from tests.sandbox_process import CORPID

Presence, Status = Member.Presence, EventWork.Status


def presence(telling: Telling, userid: str) -> str:
    return telling.place.member(userid).presence


def test_a_rename_keeps_the_member(telling: Telling) -> None:
    before = telling.place.member("LiLei")
    telling.place.rename("LiLei", "Li.Lei-2")
    telling.hear()

    after = telling.place.member("li.lei-2")
    assert (after.pk, after.userid, after.first_seen_at) == (before.pk, "Li.Lei-2", before.first_seen_at)
    assert Member.objects.count() == 3
    assert telling.place.stored() == telling.place.theirs()


def test_a_rename_costs_one_call_for_each_of_its_userids(telling: Telling) -> None:
    telling.place.rename("LiLei", "li.lei")
    telling.place.put_members({"userid": "li.lei", "name": "李磊"})
    posts = telling.heard()
    telling.place.calls()

    telling.tell(*posts)
    telling.work_off()

    assert telling.place.calls() == {"user/get": 2}
    assert telling.place.stored() == telling.place.theirs()


def test_of_somebody_who_was_written_meanwhile_wecom_is_asked_anew(telling: Telling) -> None:
    """Whoever wrote since the first call has read WeCom later than it."""
    member = telling.place.member("LiLei")
    telling.place.rename("LiLei", "li.lei")
    posts = telling.heard()
    telling.place.calls()
    later = telling.clock() + timedelta(minutes=1)
    Member.objects.filter(pk=member.pk).update(name="later", changed_at=later)

    telling.tell(*posts)
    telling.work_off()

    assert telling.place.calls() == {"user/get": 4}
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
    monkeypatch.setattr(hooks, "member_renaming", Hook())
    hooks.member_renaming.register(lambda corp, old, new: (old, new) != ("LiLei", "Lei"))
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
    work_through(corp_id=place.corp.pk, consumer=event_consumer.NAME, clock=lambda: telling.clock.now)
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


def work_once(telling: Telling) -> None:
    """One turn of a worker, and no time for another."""
    work_through(corp_id=telling.place.corp.pk, consumer=event_consumer.NAME, clock=lambda: telling.clock.now)


def test_a_second_rename_that_is_told_after_the_first_was_looked_up(telling: Telling) -> None:
    """WeCom knows neither userid any more that the first one names: nobody is taken for gone before the second came."""
    place, before = telling.place, telling.place.member("LiLei").pk
    place.rename("LiLei", "Lei")
    first = telling.heard()
    place.rename("Lei", "Lei2")
    second = telling.heard()
    telling.tell(*first)
    work_once(telling)
    assert presence(telling, "LiLei") == Presence.HERE

    telling.tell(*second)
    telling.work_off()

    assert (place.member("Lei2").pk, place.member("Lei2").presence) == (before, Presence.HERE)
    assert place.stored() == place.theirs()


def test_an_event_that_is_worked_off_after_the_userid_changed_waits_for_the_rename(telling: Telling) -> None:
    place, before = telling.place, telling.place.member("jim").pk
    place.put_members({"userid": "jim", "position": "经理"})
    earlier = telling.heard()
    place.rename("jim", "james")
    renamed = telling.heard()
    telling.tell(*earlier)
    work_once(telling)
    assert presence(telling, "jim") == Presence.HERE

    telling.tell(*renamed)
    telling.work_off()

    assert place.member("james").pk == before
    assert place.stored() == place.theirs()


def test_who_is_gone_without_a_word_is_deleted_after_some_seconds(telling: Telling) -> None:
    """The event of the deletion was lost."""
    place = telling.place
    place.put_members({"userid": "jim", "position": "经理"})
    posts = telling.heard()
    place.delete_member("jim")
    telling.heard()
    begun = telling.clock.now

    telling.tell(*posts)
    telling.work_off()

    assert presence(telling, "jim") == Presence.DELETED
    assert timedelta(seconds=5) < telling.clock.now - begun < timedelta(minutes=1)


def test_who_has_left_by_an_event_is_deleted_at_once(telling: Telling) -> None:
    telling.place.delete_member("jim")
    telling.tell(*telling.heard())
    work_once(telling)

    assert presence(telling, "jim") == Presence.DELETED
    assert not EventWork.objects.waiting().filter(consumer=event_consumer.NAME).exists()


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
    monkeypatch.setattr(hooks, "member_renamed", Hook())
    seen: list[tuple[str, str]] = []

    def follower(corp: Corp, old: str, new: str) -> None:
        seen.append((old, new))
        if len(seen) == 1:
            raise RuntimeError

    hooks.member_renamed.register(follower)
    telling.place.rename("LiLei", "Lei")
    telling.tell(*(one for one in telling.heard() if one.address == "contacts-events"))
    work_through(corp_id=telling.place.corp.pk, consumer=event_consumer.NAME, clock=telling.clock)
    assert presence(telling, "LiLei") == Presence.HERE

    telling.work_off()

    assert seen == [("LiLei", "Lei")] * 2
    assert presence(telling, "Lei") == Presence.HERE
