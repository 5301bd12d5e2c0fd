"""People who leave, or get another userid, between the planning of a run and the freezing of its messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.directory.sync import apply_to
from accounts.models import DirectoryPolicy, User, WeComAccount
from integrations.core import hooks
from integrations.models import Corp, Member
from notifications.delivery import maintenance
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt, Run
from tests.notifications.factories import NOW, make_person, make_run, make_subscription
from tests.notifications.side_by_side import Elsewhere, Meanwhile

Change = Callable[[Corp], object]


def make_member(corp: Corp, **fields: Any) -> Member:
    named = {"userid": "lilei", "userid_folded": "lilei"}
    return Member.objects.create(corp=corp, first_seen_at=NOW, changed_at=NOW, **named, **fields)


def suspend(corp: Corp) -> None:
    """Disabled in WeCom, under a directory policy in force: the person here stays active."""
    DirectoryPolicy.objects.create(corp=corp, mode="link")
    make_member(corp, status="disabled")


def disable(corp: Corp) -> None:
    """Deleted in WeCom, under a directory policy that disables."""
    User.objects.filter(wecom_accounts__corp=corp, wecom_accounts__userid_folded="lilei").update(is_active=False)


def unlink(corp: Corp) -> None:
    """Deleted in WeCom, under a directory policy that only unlinks: the person here stays active."""
    accounts = WeComAccount.objects.filter(corp=corp, userid_folded="lilei")
    accounts.update(userid="", userid_folded="", left_at=NOW)


def lose_userid(corp: Corp) -> None:
    """By hand, or because WeCom gave it to somebody else."""
    WeComAccount.objects.filter(corp=corp, userid_folded="lilei").update(userid="", userid_folded="")


def leave_wecom(corp: Corp) -> None:
    """As the directory's synchronisation does it."""
    policy = DirectoryPolicy.objects.create(corp=corp, mode="link", leavers="disable")
    with transaction.atomic():
        gone = make_member(corp, presence="deleted", left_at=NOW)
        apply_to(corp=corp, policy=policy, members=[gone], now=NOW)


LEAVES = [(suspend, "barred"), (disable, "user_disabled"), (unlink, "barred")]


def render_after(work: Callable[[], object], *people: User, **fields: Any) -> Run:
    """`work` is done once all is planned: when the run is locked, before anything is frozen."""
    run = make_run(make_subscription(*people, **fields))
    locks = Meanwhile(work, lambda sql: sql.startswith("SELECT") and '"notifications_run"."status" = ' in sql)
    with connection.execute_wrapper(locks):
        render_run(run_id=run.pk, now=NOW)
    run.refresh_from_db()
    return run


def touser() -> list[str]:
    return [json.loads(bytes(body))["touser"] for body in Delivery.objects.values_list("body", flat=True)]


def receipts() -> set[tuple[str, str, str, str]]:
    return set(Receipt.objects.values_list("channel", "address", "status", "reason"))


@pytest.mark.django_db
class TestPlannedPeople:
    @pytest.mark.parametrize(("leave", "reason"), [*LEAVES, (lose_userid, "no_userid")])
    def test_who_leaves_is_skipped_and_the_others_get_it(self, corp: Corp, leave: Change, reason: str) -> None:
        leaver, jim = make_person(corp, "LiLei"), make_person(corp, "jim")

        run = render_after(lambda: leave(corp), leaver, jim)

        assert touser() == ["jim"]
        assert receipts() == {
            ("wecom", f"{corp.pk}:jim", "", ""),
            ("wecom", f"user:{leaver.pk}", "skipped", reason),
        }
        assert (run.status, run.recipient_count, run.skipped_count) == (Run.Status.SENDING, 1, 1)

    @pytest.mark.parametrize(("leave", "reason"), LEAVES)
    def test_a_mail_is_not_made_for_who_leaves(self, corp: Corp, leave: Change, reason: str) -> None:
        leaver = make_person(corp, "LiLei", email="lilei@example.com")

        run = render_after(lambda: leave(corp), leaver, channel="email")

        assert not Delivery.objects.exists()
        assert receipts() == {("email", f"user:{leaver.pk}", "skipped", reason)}
        assert (run.status, run.recipient_count, run.skipped_count) == (Run.Status.FINISHED, 0, 1)

    def test_who_is_renamed_gets_it_at_the_new_userid(self, corp: Corp) -> None:
        people = [make_person(corp, "LiLei"), make_person(corp, "jim")]

        run = render_after(lambda: hooks.member_renamed(corp, "LiLei", "Lei.Li"), *people)

        assert touser() == ["Lei.Li|jim"]
        assert receipts() == {("wecom", f"{corp.pk}:lei.li", "", ""), ("wecom", f"{corp.pk}:jim", "", "")}
        assert (run.recipient_count, run.skipped_count) == (2, 0)

    def test_no_mail_takes_the_place_of_an_app_from_which_they_were_unlinked(self, corp: Corp) -> None:
        """The run is planned: whom its app cannot reach any more is told so by the receipt."""
        person = make_person(corp, "LiLei", email="lilei@example.com")

        render_after(lambda: lose_userid(corp), person, fallback_channel="email")

        assert receipts() == {("wecom", f"user:{person.pk}", "skipped", "no_userid")}


@pytest.mark.django_db(transaction=True)
class TestSideBySide:
    """Over two connections: whoever comes first, the other sees what they did."""

    def test_who_leaves_while_messages_are_frozen_is_taken_out_of_them(self, corp: Corp) -> None:
        """Neither waits in a circle, though the one has locked the person whom the other's receipt names."""
        run = make_run(make_subscription(make_person(corp, "LiLei"), make_person(corp, "jim")))

        work = Elsewhere(lambda: leave_wecom(corp))
        writes = Meanwhile(work.until_it_waits, lambda sql: "INSERT INTO notifications_delivery" in sql)
        with connection.execute_wrapper(writes):
            render_run(run_id=run.pk, now=NOW)
        work.join()

        assert touser() == ["jim"]
        assert receipts() == {
            ("wecom", f"{corp.pk}:jim", "", ""),
            ("wecom", f"{corp.pk}:lilei", "skipped", "barred"),
        }

    def test_who_leaves_while_a_mail_in_place_of_a_message_is_made_does_not_get_it(self, corp: Corp) -> None:
        person = make_person(corp, "LiLei", email="lilei@example.com")
        render_run(run_id=make_run(make_subscription(person, fallback_channel="email")).pk, now=NOW)
        Delivery.objects.update(status="accepted", settled_at=NOW, attempt_count=1, invalid_count=1)
        Receipt.objects.update(status="invalid")

        work = Elsewhere(lambda: leave_wecom(corp))
        writes = Meanwhile(work.until_it_waits, lambda sql: "INSERT INTO notifications_delivery" in sql)
        with connection.execute_wrapper(writes):
            assert maintenance.sweep(now=NOW).mailed_count == 1
        work.join()

        assert Delivery.objects.get(channel="email").status == "canceled"
        assert receipts() == {
            ("wecom", f"{corp.pk}:lilei", "invalid", ""),
            ("email", f"mail:{person.pk}:lilei@example.com", "skipped", "barred"),
        }

    def test_who_is_being_renamed_is_waited_for(self, corp: Corp) -> None:
        run = make_run(make_subscription(make_person(corp, "LiLei"), make_person(corp, "jim")))
        work = Elsewhere(lambda: render_run(run_id=run.pk, now=NOW))

        with transaction.atomic():
            hooks.member_renamed(corp, "LiLei", "Lei.Li")
            work.until_it_waits()
        work.join()

        assert touser() == ["Lei.Li|jim"]
