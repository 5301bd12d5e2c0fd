"""Events of WeCom and their effect on people, at once: sent by the sandbox, received by us, processed by tasks."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.utils import timezone
from pytest_django import Settings

from accounts.directory.sync import PolicyStep
from accounts.models import AuditEntry, DirectoryPolicy, LinkConflict, User, WeComAccount
from accounts.users.roles import Role
from integrations import callbacks
from integrations.models import CallbackEvent, Member
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt, Run
from tests.accounts.conftest import Visitor, make_person, visitor
from tests.accounts.directory.people_of import (
    People,
    delete_leaver,
    disable_leaver,
    links,
    make,
    member,
    move_out_of_scope,
    open_door,
    sign_in,
)
from tests.accounts.people import with_role
from tests.integrations.directory.wecom_events import Post, WeComEvents
from tests.notifications.factories import make_run, make_subscription
from tests.notifications.inbound.channels import make_channel

Status = CallbackEvent.Status


@pytest.fixture
def _door(wecom_events: WeComEvents) -> None:
    open_door(wecom_events.place)


def account(userid: str) -> WeComAccount:
    return WeComAccount.objects.get(userid_folded=userid.lower())


@pytest.mark.usefixtures("_door")
@pytest.mark.parametrize("leave", [delete_leaver, disable_leaver, move_out_of_scope])
def test_a_leaver_is_signed_out_on_all_devices(wecom_events: WeComEvents, people: People, leave: Any) -> None:
    """Run the events' tasks, but no run of the whole directory."""
    devices = [visitor(), visitor()]
    for device in devices:
        sign_in(wecom_events.place, device)

    leave(people)
    wecom_events.send(*wecom_events.heard())

    for device in devices:
        assert device.get("/").status_code == 302
        assert SESSION_KEY not in device.client.session


@pytest.mark.parametrize("leave", [delete_leaver, disable_leaver, move_out_of_scope])
def test_what_still_waits_for_a_leaver_is_canceled(wecom_events: WeComEvents, people: People, leave: Any) -> None:
    leaver = User.objects.get(username="LiLei")
    alone = make_run(make_subscription(leaver))
    shared = make_run(make_subscription(leaver, User.objects.get(username="jim")))
    render_run(run_id=alone.pk, now=alone.slot_at)
    render_run(run_id=shared.pk, now=shared.slot_at)

    leave(people)
    wecom_events.send(*wecom_events.heard())

    assert [one.status for one in Delivery.objects.order_by("pk")] == ["canceled", "pending"]
    receipts = Receipt.objects.filter(user=leaver)
    assert set(receipts.values_list("status", "reason")) == {("skipped", "barred")}
    assert b'"touser":"jim"' in bytes(Delivery.objects.get(run=shared).body)


def test_a_deleted_person_is_unlinked_and_disabled_and_staff_only_barred(
    wecom_events: WeComEvents, settings: Settings
) -> None:
    settings.DIRECTORY_GUARD_PERCENT = 100
    User.objects.filter(username="jim").update(is_staff=True)
    wecom_events.place.delete_member("LiLei")
    wecom_events.place.delete_member("jim")
    wecom_events.send(*wecom_events.heard())

    assert set(User.objects.filter(is_active=True).values_list("username", flat=True)) == {"hanmeimei", "jim"}
    assert links(wecom_events.place.corp) == {"hanmeimei": "hanmeimei", "jim": "jim"}
    assert not WeComAccount.objects.signing_in().filter(userid_folded="jim").exists()
    changes = list(AuditEntry.objects.filter(action="changed").values_list("changes", flat=True))
    assert [["is_active", True, False]] in changes
    assert [["userid", "LiLei", None]] in changes


@pytest.mark.parametrize(
    ("leave", "is_staff", "is_taken", "is_told"),
    [
        (delete_leaver, True, True, True),
        (delete_leaver, False, True, True),
        (disable_leaver, True, False, True),
        (move_out_of_scope, True, False, True),
        # By a run of the directory in place of events.
        (delete_leaver, True, True, False),
        (move_out_of_scope, True, False, False),
    ],
)
def test_what_a_leaver_owns_goes_to_the_successor(
    wecom_events: WeComEvents, people: People, leave: Any, *, is_staff: bool, is_taken: bool, is_told: bool
) -> None:
    """Hand over nothing that may heal by itself. Staff are not disabled, but cannot sign in by WeCom any more."""
    heir = with_role("heir", Role.PUSH_EDITOR)
    owner = User.objects.get(username="LiLei")
    User.objects.filter(pk=owner.pk).update(is_staff=is_staff)
    owner.groups.add(*heir.groups.all())
    push = make_subscription(owner=owner, successor=heir)
    channel = make_channel(owner, corp=people.corp, successor=heir)

    leave(people)
    if is_told:
        wecom_events.send(*wecom_events.heard())
    else:
        people.sync()

    push.refresh_from_db()
    channel.refresh_from_db()
    assert push.owner == (heir if is_taken else owner)
    assert channel.owner == owner  # the heir sees companies that the owner did not see
    assert Run.objects.filter(trigger="notice").count() == (1 if is_taken else 0)


def test_who_was_only_unlinked_for_leaving_is_told_from_who_was_never_linked(
    wecom_events: WeComEvents, people: People
) -> None:
    """Keep the mark until there is a userid again."""
    people.set_policy(leavers="unlink")
    wecom_events.place.delete_member("LiLei")
    wecom_events.send(*wecom_events.heard())
    leaver = WeComAccount.objects.get(user__username="LiLei")
    others = WeComAccount.objects.exclude(pk=leaver.pk)
    assert (leaver.userid, leaver.corp, leaver.user.is_active) == ("", people.corp, True)
    assert leaver.left_at is not None
    assert set(others.values_list("left_at", flat=True)) == {None}

    leaver.save()
    leaver.refresh_from_db()
    assert leaver.left_at is not None
    leaver.userid = "LiLei2"
    leaver.save(update_fields=["userid"])

    assert WeComAccount.objects.filter(pk=leaver.pk, userid_folded="lilei2", left_at__isnull=True).exists()


def test_a_run_that_links_a_leaver_again_takes_the_mark_away(wecom_events: WeComEvents, people: People) -> None:
    people.set_policy(leavers="unlink", match_email=True)
    User.objects.filter(username="LiLei").update(email="li@example.com")
    wecom_events.place.delete_member("LiLei")
    wecom_events.send(*wecom_events.heard())
    people.put("lei.li", department=[2], email="li@example.com")
    wecom_events.send(*wecom_events.heard())

    account = WeComAccount.objects.get(user__username="LiLei")
    assert (account.userid, account.left_at) == ("lei.li", None)


@pytest.mark.usefixtures("_door")
def test_a_policy_that_is_off_touches_nobody_but_accounts_follow_renames(
    wecom_events: WeComEvents, people: People, phone: Visitor
) -> None:
    """Follow renames, or the next owner of the former userid would sign in as this person."""
    sign_in(wecom_events.place, phone)
    people.set_policy(mode="off")
    wecom_events.place.delete_member("LiLei")
    wecom_events.place.rename("jim", "james")
    wecom_events.send(*wecom_events.heard())

    assert phone.get("/").status_code == 200
    assert User.objects.get(username="LiLei").is_active
    assert set(CallbackEvent.objects.exclude(consumer="").values_list("status", flat=True)) == {Status.DONE}
    assert links(people.corp)["jim"] == "james"


def test_a_joiner_is_created_and_a_name_follows_at_once(wecom_events: WeComEvents, people: People) -> None:
    """Look only at the people concerned: others that a run would link wait for it."""
    make("late")
    member(people.corp, "late")
    people.put("Wang.Wu", name="王五", department=[2], mobile="13000000009")
    people.put("LiLei", name="李磊", department=[2])
    wecom_events.send(*wecom_events.heard())

    user = User.objects.get(username="Wang.Wu")
    assert (user.name, user.mobile, user.is_active) == ("王五", "13000000009", True)
    assert links(people.corp)["Wang.Wu"] == "Wang.Wu"
    assert User.objects.get(username="LiLei").name == "李磊"
    assert "late" not in links(people.corp)


@pytest.mark.usefixtures("_door")
def test_account_proof_session_and_messages_follow_a_rename(wecom_events: WeComEvents, phone: Visitor) -> None:
    corp, lilei = wecom_events.place.corp, User.objects.get(username="LiLei")
    sign_in(wecom_events.place, phone)
    WeComAccount.objects.filter(userid_folded="lilei").update(proven_corp_id=corp.pk, proven_userid="lilei")
    WeComAccount.objects.filter(userid_folded="jim").update(proven_corp_id=corp.pk, proven_userid="somebody")
    before = account("LiLei")
    run = make_run(make_subscription(lilei))
    render_run(run_id=run.pk, now=run.slot_at)
    people = set(User.objects.values_list("username", "is_active"))
    wecom_events.place.rename("LiLei", "Lei.Li")
    wecom_events.place.rename("jim", "james")
    wecom_events.send(*wecom_events.heard())

    after = account("Lei.Li")
    assert (after.pk, after.user_id, after.userid) == (before.pk, lilei.pk, "Lei.Li")
    assert (after.proven_corp_id, after.proven_userid) == (corp.pk, "lei.li")
    assert account("james").proven_userid == "somebody"
    assert set(User.objects.values_list("username", "is_active")) == people
    (entry,) = [one for one in AuditEntry.objects.all() if one.changes == [["userid", "LiLei", "Lei.Li"]]]
    assert entry.action == AuditEntry.Action.CHANGED
    assert b'"touser":"Lei.Li"' in bytes(Delivery.objects.get().body)
    assert phone.get("/").status_code == 200
    assert sign_in(wecom_events.place, visitor(), "Lei.Li") == "/"


@pytest.mark.parametrize(
    ("right", "protected"), [("is_staff", "who is renamed"), ("is_superuser", "who has the new userid")]
)
def test_who_may_enter_the_administration_is_not_moved_by_an_event(
    wecom_events: WeComEvents, people: People, right: str, protected: str
) -> None:
    """Bar the former userid in case somebody else gets it. The new one is linked by hand."""
    people.set_policy(mode="link")
    if protected == "who has the new userid":
        make_person("root", people.corp, "Lei.Li")
    User.objects.filter(username="LiLei" if protected == "who is renamed" else "root").update(**{right: True})
    before = {**links(people.corp)}
    wecom_events.place.rename("LiLei", "Lei.Li")
    wecom_events.send(*wecom_events.heard())
    wecom_events.work_off()

    after = links(people.corp)
    if protected == "who is renamed":
        assert after == before
        assert not WeComAccount.objects.signing_in().filter(userid_folded="lilei").exists()
        assert people.conflicts() == {"Lei.Li": "nobody"}
    else:
        assert after == {name: userid for name, userid in before.items() if name != "LiLei"}
        assert after["root"] == "Lei.Li"


def test_whoever_was_linked_with_the_new_userid_is_unlinked(wecom_events: WeComEvents, people: People) -> None:
    former = make_person("former", people.corp, "Lei.Li")
    wecom_events.place.rename("LiLei", "Lei.Li")
    wecom_events.send(*wecom_events.heard())

    assert links(people.corp)["LiLei"] == "Lei.Li"
    assert WeComAccount.objects.get(user=former).userid == ""


@pytest.fixture
def renamed(wecom_events: WeComEvents, people: People) -> list[Post]:
    """Events of a rename, which come after one about the new userid, which looks like somebody who joined."""
    wecom_events.place.rename("jim", "james")
    late = wecom_events.heard()
    people.put("james", name="Jim Green", department=[4])
    wecom_events.send(*wecom_events.heard())
    assert links(people.corp)["james"] == "james"
    return late


def test_whoever_was_made_for_the_new_userid_before_the_rename_was_told_is_disabled(
    wecom_events: WeComEvents, people: People, renamed: list[Post]
) -> None:

    wecom_events.send(*renamed)

    assert links(people.corp)["jim"] == "james"
    assert "james" not in links(people.corp)
    stray = User.objects.get(username="james")
    assert (stray.is_active, User.objects.get(username="jim").is_active) == (False, True)
    entry = AuditEntry.objects.filter(object_id=stray.pk, model="accounts.user").latest("pk")
    assert entry.changes == [["is_active", True, False]]


@pytest.mark.parametrize(
    "known",
    [
        {"last_login": timezone.now()},
        {"password": "pbkdf2$usable"},
        {"username": "james.of.old"},
        {"is_staff": True},
    ],
)
def test_somebody_who_was_here_before_is_only_unlinked(
    wecom_events: WeComEvents, renamed: list[Post], known: Any
) -> None:
    holder = WeComAccount.objects.get(userid="james").user
    User.objects.filter(pk=holder.pk).update(**known)

    wecom_events.send(*renamed)

    holder.refresh_from_db()
    assert holder.is_active


def test_a_pending_conflict_follows(wecom_events: WeComEvents, people: People) -> None:
    people.set_policy(mode="link")
    people.put("nobody", department=[2])
    wecom_events.send(*wecom_events.heard())
    since = LinkConflict.objects.get().since
    wecom_events.place.rename("nobody", "no.body")
    wecom_events.send(*wecom_events.heard())

    assert people.conflicts() == {"no.body": "nobody"}
    assert LinkConflict.objects.get().since == since


def test_userids_that_were_exchanged_let_nobody_in_as_the_other(wecom_events: WeComEvents) -> None:
    """Leave both to an administrator, because WeCom cannot confirm the events."""
    for old, new in [("LiLei", "tmp"), ("jim", "LiLei"), ("tmp", "jim")]:
        wecom_events.place.rename(old, new)
    told = [one for one in wecom_events.heard() if one.address == "contacts-events"]
    wecom_events.send(*reversed(told))
    wecom_events.work_off()

    signing_in = WeComAccount.objects.signing_in().filter(corp=wecom_events.place.corp)
    assert set(signing_in.values_list("user__username", flat=True)) == {"hanmeimei"}


@pytest.mark.parametrize("leave", [delete_leaver, disable_leaver, move_out_of_scope])
def test_a_worker_that_dies_after_writing_leaves_word_of_whom_it_wrote(
    wecom_events: WeComEvents, people: People, monkeypatch: pytest.MonkeyPatch, leave: Any
) -> None:
    """Record whom to apply the policy to, because the next worker finds the copy already correct."""
    run = make_run(make_subscription(User.objects.get(username="LiLei")))
    render_run(run_id=run.pk, now=run.slot_at)
    leave(people)
    settle = callbacks.settle_batch
    lilei = Member.objects.eligible().filter(userid_folded="lilei")

    def die_once_written(*args: Any, **options: Any) -> None:
        # The events, such as one of a tag that LiLei had, arrive in any order.
        settle(*args, **options) if lilei.exists() else _die()

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "settle_batch", die_once_written)
        # WeCom may tell the app, too, in either order.
        told = sorted(wecom_events.heard(), key=lambda post: post.address != "contacts-events")
        assert "died" in [_wake_worker(wecom_events, post) for post in told]
    assert not lilei.exists()

    wecom_events.send(*wecom_events.heard())
    wecom_events.work_off()

    assert Delivery.objects.get().status == Delivery.Status.CANCELED


def test_an_error_among_the_people_keeps_word_of_whom_a_batch_changed(
    wecom_events: WeComEvents, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeat the events of a batch one by one, and apply the policy to everybody whom the batch had changed."""
    people.set_policy(leavers="disable")
    people.place.delete_member("LiLei")
    errors = iter([RuntimeError("once")])

    apply_policy = PolicyStep.apply_policy

    def fail_once(step: PolicyStep, rules: Any) -> Any:
        for error in errors:
            raise error
        return apply_policy(step, rules)

    monkeypatch.setattr(PolicyStep, "apply_policy", fail_once)
    wecom_events.is_quick = False  # both events in one batch
    wecom_events.send(*wecom_events.heard())
    wecom_events.work_off()

    assert next(errors, None) is None
    assert not User.objects.filter(username="LiLei", is_active=True).exists()


def _wake_worker(wecom_events: WeComEvents, post: Post) -> str:
    """Return what became of the worker that the event woke. Each event wakes one, and either address may be first."""
    try:
        wecom_events.send(post)
    except SystemExit:
        return "died"
    return "lived"


def _die(*_args: object, **_more: object) -> None:
    raise SystemExit


def test_what_waits_for_somebody_who_was_barred_on_wecoms_word_is_canceled(
    wecom_events: WeComEvents, people: People
) -> None:
    """Cancel although the copy does not change: they were out of scope by WeCom's answer, and then in fact."""
    run = make_run(make_subscription(User.objects.get(username="LiLei")))
    render_run(run_id=run.pk, now=run.slot_at)
    people.place.sandbox.fault("ip_refused", "*", count=None)
    move_out_of_scope(people)
    wecom_events.send(*wecom_events.heard())
    assert Member.objects.get(userid_folded="lilei").presence == Member.Presence.OUT_OF_SCOPE

    people.place.sandbox.control("DELETE", "faults")
    wecom_events.clock.now += timedelta(minutes=1)
    wecom_events.work_off()

    assert Delivery.objects.get().status == Delivery.Status.CANCELED


def test_who_was_barred_by_events_is_as_after_a_run(
    wecom_events: WeComEvents, people: People, settings: Settings
) -> None:
    settings.DIRECTORY_GUARD_PERCENT = 100  # two of three leave, in the sandbox's order
    delete_leaver(people)
    people.put("jim", department=[4], status=2)
    people.put("neu", department=[2])
    people.place.rename("hanmeimei", "han")
    wecom_events.send(*wecom_events.heard())
    wecom_events.clock.now = max(wecom_events.clock.now, *Member.objects.values_list("changed_at", flat=True))

    assert people.counts() == {}
    assert DirectoryPolicy.objects.get().mode == "create"
