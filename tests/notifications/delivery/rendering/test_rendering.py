"""Rendering freezes a run into deliveries and receipts, in one transaction, once."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from pytest_django import Settings

from accounts.directory.sync import PolicyStep
from accounts.models import DirectoryPolicy, User
from integrations.core import hooks
from integrations.models import Corp, Member, SiteAddress
from notifications.delivery import maintenance
from notifications.delivery.attachments import FILE_FORMS, PICTURE_FORMS
from notifications.delivery.rendering import render
from notifications.delivery.rendering.render import render_run
from notifications.delivery.rows import RENDER_LEASE
from notifications.models import Delivery, MessageForm, Receipt, Run, Subscription
from tests.accounts.people import sent_form
from tests.notifications.admin.conftest import client_of
from tests.notifications.delivery.attachments.places import body_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_people,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.leavers import disable, lose_userid, suspend, unlink
from tests.notifications.side_by_side import Elsewhere, Meanwhile

pytestmark = pytest.mark.django_db


def in_english(run: Run) -> str:
    with translation.override("en"):
        return run.error_text


def test_a_delivery_is_frozen_with_everything_it_needs() -> None:
    address = SiteAddress.objects.create(url="https://bi.example.com/")
    corp = make_corp(site_address=address)
    people = [make_person(corp, "LiLei"), make_person(corp, "han")]
    report = make_report(title=" 日 报 ", body="第一行\r\n第二行", link="/cards/7")
    run = make_run(make_subscription(*people, report=report, lifetime_hours=6))

    delivery_ids = render_run(run_id=run.pk, now=NOW)

    delivery = Delivery.objects.get()
    assert delivery_ids == [delivery.pk]
    assert body_of(delivery) == {
        "touser": "LiLei|han",
        "msgtype": "textcard",
        "agentid": corp.agentid,
        "textcard": {
            "title": "日 报",
            "description": "第一行<br>第二行",
            "url": f"https://bi.example.com/m/{delivery.mark}/",
            "btntxt": "查看全部",
        },
        "enable_duplicate_check": 1,
        "duplicate_check_interval": 14400,
    }
    assert (delivery.title, delivery.text, delivery.link) == ("日 报", "第一行\n第二行", "/cards/7")
    assert (delivery.corp, delivery.corpid, delivery.agentid) == (corp, corp.corpid, corp.agentid)
    assert (delivery.status, delivery.recipient_count, delivery.language) == ("pending", 2, "zh-hans")
    assert (delivery.next_attempt_at, delivery.expires_at) == (NOW, NOW + timedelta(hours=6))
    assert delivery.queued_until is None
    receipts = Receipt.objects.filter(delivery=delivery, status="", channel="wecom").order_by("pk")
    assert list(receipts.values_list("user_id", "address")) == [
        (people[0].pk, f"{corp.pk}:lilei"),
        (people[1].pk, f"{corp.pk}:han"),
    ]
    run.refresh_from_db()
    assert (run.status, run.rendered_at, run.finished_at) == (Run.Status.SENDING, NOW, None)
    assert (run.recipient_count, run.skipped_count) == (2, 0)


def test_people_travel_together_up_to_a_thousand_per_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "USERS_AT_MOST", 10)  # instead of a thousand
    large, small = make_corp(), make_corp()
    people = make_people(large, 21) + make_people(small, 3)
    # People in between who cannot be reached must not split a batch.
    people[5].is_active = False
    people[5].save()
    run = make_run(make_subscription(to_everyone=False))
    group = Group.objects.create(name="all")
    group.user_set.set(people)
    assert run.subscription is not None
    run.subscription.groups.add(group)

    render_run(run_id=run.pk, now=NOW)

    deliveries = Delivery.objects.order_by("pk")
    assert list(deliveries.values_list("corp_id", "recipient_count")) == [(large.pk, 10), (large.pk, 10), (small.pk, 3)]
    assert [body_of(one)["agentid"] for one in deliveries] == [large.agentid, large.agentid, small.agentid]
    assert body_of(deliveries[0])["touser"].split("|")[:2] == ["U0", "U1"]
    assert Receipt.objects.filter(delivery__isnull=False).count() == 23
    run.refresh_from_db()
    assert (run.recipient_count, run.skipped_count) == (23, 1)


@pytest.mark.parametrize("form", MessageForm)
def test_every_body_has_a_mark_of_its_own_and_the_same_bytes_when_its_slot_is_made_again(form: MessageForm) -> None:
    """Standbys that take over may not know the first messages; WeCom drops equal bytes as duplicates."""
    subscription = make_subscription(*make_people(make_corp(), 2), make_person(email="wang@example.com"))
    Subscription.objects.update(fallback_channel="email", message_form=form)

    def render_slot(minute: int, when: int) -> list[tuple[str, bytes]]:
        slot = NOW + timedelta(minutes=minute)
        run = make_run(Subscription.objects.get(pk=subscription.pk), slot, key=f"sub:{subscription.pk}:{minute}")
        render_run(run_id=run.pk, now=NOW + timedelta(seconds=when))
        return [(row.mark, bytes(row.body)) for row in Delivery.objects.filter(run=run).order_by("pk")]

    with transaction.atomic():
        first = render_slot(0, when=1)
        transaction.set_rollback(True)
    again, later = render_slot(0, when=9), render_slot(1, when=60)

    assert len(first) == 2
    if form not in PICTURE_FORMS | FILE_FORMS:  # these are uploaded anew
        assert again == first
    assert not {mark for mark, _body in first} & {mark for mark, _body in later}
    assert all(mark.encode() in body for mark, body in first)


def test_a_run_that_reaches_nobody_is_finished_at_once_with_the_reason_for_each() -> None:
    lost = make_person()
    run = make_run(make_subscription(lost))

    assert render_run(run_id=run.pk, now=NOW) == []

    run.refresh_from_db()
    assert (run.status, run.finished_at, run.skipped_count) == (Run.Status.FINISHED, NOW, 1)
    skipped = Receipt.objects.get()
    assert (skipped.user, skipped.status, skipped.reason) == (lost, Receipt.Status.SKIPPED, Receipt.Reason.NO_ACCOUNT)
    assert (skipped.address, skipped.delivery) == (f"user:{lost.pk}", None)
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("status", [status for status in Run.Status if status != Run.Status.WAITING])
def test_only_a_waiting_run_is_rendered(status: Run.Status) -> None:
    run = make_run(make_subscription(make_person(make_corp(), "lilei")), status=status)

    assert render_run(run_id=run.pk, now=NOW) == []

    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("is_deleted", "reason"),
    [
        (True, "The push was deleted before its messages were made."),
        (False, "This cannot be a message: textcard.title: is empty"),
    ],
)
def test_what_is_gone_or_is_no_message_fails_and_leaves_nothing_behind(is_deleted: bool, reason: str) -> None:
    people = make_person(), make_person(make_corp(), "lilei")
    subscription = make_subscription(*people, report=make_report(title=" "))
    run = make_run(subscription)
    if is_deleted:
        subscription.delete()

    assert render_run(run_id=run.pk, now=NOW) == []

    run.refresh_from_db()
    assert (run.status, run.finished_at) == (Run.Status.FAILED, NOW)
    assert in_english(run) == reason
    assert not Delivery.objects.exists()
    assert not Receipt.objects.exists()


def test_a_rendering_that_keeps_crashing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(make_subscription(make_person(make_corp(), "lilei")))

    def crash(*args: object) -> None:
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(render, "write_deliveries", crash)
        for _ in range(5):
            with pytest.raises(DatabaseError):
                render_run(run_id=run.pk, now=NOW)

    run.refresh_from_db()
    assert (run.status, run.render_after) == (Run.Status.WAITING, NOW + RENDER_LEASE)
    assert not Delivery.objects.exists()
    assert render_run(run_id=run.pk, now=NOW) == []
    run.refresh_from_db()
    assert (run.status, in_english(run)) == (Run.Status.FAILED, "Making the messages failed 5 times.")


def test_the_language_is_frozen(settings: Settings) -> None:
    settings.LANGUAGE_CODE = "en"
    run = make_run(make_subscription(make_person(make_corp(), "lilei"), message_form=MessageForm.TEXT))

    render_run(run_id=run.pk, now=NOW)

    delivery = Delivery.objects.get()
    assert delivery.language == "en"
    assert ">View all</a>" in body_of(delivery)["text"]["content"]


def test_a_message_for_each_of_many_people_takes_no_more_statements() -> None:
    corp = make_corp()

    def statements(count: int) -> int:
        people = [make_person(corp, f"u{count}-{n}", email=f"u{n}@example.com") for n in range(count)]
        run = make_run(make_subscription(*people, channel="email"))
        with CaptureQueriesContext(connection) as asked:
            assert len(render_run(run_id=run.pk, now=NOW)) == count
        return len(asked)

    assert statements(12) == statements(2)
    assert Receipt.objects.count() == 14


Change = Callable[[Corp], object]


def leave_wecom(corp: Corp) -> None:
    """Process a deleted member as directory synchronisation does."""
    policy = DirectoryPolicy.objects.create(corp=corp, mode="link", leavers="disable")
    with transaction.atomic():
        named = {"userid": "lilei", "userid_folded": "lilei", "first_seen_at": NOW, "changed_at": NOW}
        gone = Member.objects.create(corp=corp, presence="deleted", left_at=NOW, **named)
        PolicyStep(corp=corp, policy=policy, members=[gone], now=NOW).apply_policy(None)


LEAVES = [(suspend, "barred"), (disable, "user_disabled"), (unlink, "barred")]


def render_after(work: Callable[[], object], *people: User, **fields: Any) -> Run:
    """Render a run, and do `work` once it is planned: the run is locked and nothing is frozen."""
    run = make_run(make_subscription(*people, **fields))
    locks = Meanwhile(work, lambda sql: sql.startswith("SELECT") and '"notifications_run"."status" = ' in sql)
    with connection.execute_wrapper(locks):
        render_run(run_id=run.pk, now=NOW)
    run.refresh_from_db()
    return run


def read_touser() -> list[str]:
    return [json.loads(bytes(body))["touser"] for body in Delivery.objects.values_list("body", flat=True)]


def read_receipts() -> set[tuple[str, str, str, str]]:
    return set(Receipt.objects.values_list("channel", "address", "status", "reason"))


@pytest.mark.django_db
class TestPlannedPeople:
    @pytest.mark.parametrize(("leave", "reason"), [*LEAVES, (lose_userid, "no_userid")])
    def test_who_leaves_is_skipped_and_the_others_get_it(self, corp: Corp, leave: Change, reason: str) -> None:
        leaver, jim = make_person(corp, "LiLei"), make_person(corp, "jim")

        run = render_after(lambda: leave(corp), leaver, jim)

        assert read_touser() == ["jim"]
        assert read_receipts() == {
            ("wecom", f"{corp.pk}:jim", "", ""),
            ("wecom", f"user:{leaver.pk}", "skipped", reason),
        }
        assert (run.status, run.recipient_count, run.skipped_count) == (Run.Status.SENDING, 1, 1)

    @pytest.mark.parametrize(("leave", "reason"), LEAVES)
    def test_a_mail_is_not_made_for_who_leaves(self, corp: Corp, leave: Change, reason: str) -> None:
        leaver = make_person(corp, "LiLei", email="lilei@example.com")

        run = render_after(lambda: leave(corp), leaver, channel="email")

        assert not Delivery.objects.exists()
        assert read_receipts() == {("email", f"user:{leaver.pk}", "skipped", reason)}
        assert (run.status, run.recipient_count, run.skipped_count) == (Run.Status.FINISHED, 0, 1)

    def test_who_is_renamed_gets_it_at_the_new_userid(self, corp: Corp) -> None:
        people = [make_person(corp, "LiLei"), make_person(corp, "jim")]

        run = render_after(lambda: hooks.member_renamed(corp, "LiLei", "Lei.Li"), *people)

        assert read_touser() == ["Lei.Li|jim"]
        assert read_receipts() == {("wecom", f"{corp.pk}:lei.li", "", ""), ("wecom", f"{corp.pk}:jim", "", "")}
        assert (run.recipient_count, run.skipped_count) == (2, 0)

    def test_no_mail_takes_the_place_of_an_app_from_which_they_were_unlinked(self, corp: Corp) -> None:
        """Receipts say that the app cannot reach the person, as the run is already planned."""
        person = make_person(corp, "LiLei", email="lilei@example.com")

        render_after(lambda: lose_userid(corp), person, fallback_channel="email")

        assert read_receipts() == {("wecom", f"user:{person.pk}", "skipped", "no_userid")}


@pytest.mark.django_db(transaction=True)
class TestSideBySide:
    """Rendering and leaving over two connections: the second one sees what the first one did."""

    def test_who_leaves_while_messages_are_frozen_is_taken_out_of_them(self, corp: Corp) -> None:
        """Causes no deadlock, though one has locked the person to whom the other's receipt points."""
        run = make_run(make_subscription(make_person(corp, "LiLei"), make_person(corp, "jim")))

        work = Elsewhere(lambda: leave_wecom(corp))
        writes = Meanwhile(work.until_it_waits, lambda sql: 'INSERT INTO "notifications_delivery"' in sql)
        with connection.execute_wrapper(writes):
            render_run(run_id=run.pk, now=NOW)
        work.join()

        assert read_touser() == ["jim"]
        assert read_receipts() == {
            ("wecom", f"{corp.pk}:jim", "", ""),
            ("wecom", f"{corp.pk}:lilei", "skipped", "barred"),
        }

    def test_who_leaves_while_a_mail_in_place_of_a_message_is_made_does_not_get_it(self, corp: Corp) -> None:
        person = make_person(corp, "LiLei", email="lilei@example.com")
        render_run(run_id=make_run(make_subscription(person, fallback_channel="email")).pk, now=NOW)
        Delivery.objects.update(status="accepted", settled_at=NOW, attempt_count=1, invalid_count=1)
        Receipt.objects.update(status="invalid")

        work = Elsewhere(lambda: leave_wecom(corp))
        writes = Meanwhile(work.until_it_waits, lambda sql: 'INSERT INTO "notifications_delivery"' in sql)
        with connection.execute_wrapper(writes):
            maintenance.sweep_deliveries(now=NOW)
        work.join()

        assert Delivery.objects.get(channel="email").status == "canceled"
        assert read_receipts() == {
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

        assert read_touser() == ["Lei.Li|jim"]


COMPANY_MISSING, ACCOUNT_MISSING = "缺少企业微信公司名称", "缺少企业微信账号"

WHERE = "企业微信公司名称和企业微信账号在“人员”中此人的页面上设置。"


@pytest.fixture(params=["company", "account"])
def half(request: Any, corp: Corp) -> tuple[User, str]:
    """A person without the attribute that is the parameter, and the message about it."""
    if request.param == "company":
        return make_person(None, "lilei", name="李雷"), COMPANY_MISSING
    return make_person(corp, "", name="李雷"), ACCOUNT_MISSING


def test_nothing_is_sent_and_the_receipt_leads_to_the_persons_page(half: tuple[User, str], corp: Corp) -> None:
    person, missing = half
    run = make_run(make_subscription(person, report=make_report(corp=corp)))
    render_run(run_id=run.pk, now=NOW)
    client = client_of(make_superuser())

    row = client.get("/admin/notifications/receipt/").content.decode()
    page = client.get(f"/admin/notifications/receipt/{Receipt.objects.get().pk}/change/").content.decode()

    run.refresh_from_db()
    assert (run.status, run.skipped_count, Delivery.objects.count()) == (Run.Status.FINISHED, 1, 0)
    link = f'<a href="/admin/accounts/user/{person.pk}/change/">{missing}</a>'
    assert link in row
    assert link in page
    if missing == ACCOUNT_MISSING:  # who may not see people reads the reason without a link
        text = client_of(make_manager(corp, permissions="view")).get("/admin/notifications/receipt/").content.decode()
        assert missing in text
        assert f"/admin/accounts/user/{person.pk}/change/" not in text


def test_a_subscription_says_so_before_it_is_saved(half: tuple[User, str]) -> None:
    person, missing = half
    report = make_report()
    address = "/admin/notifications/subscription/add/"
    client = client_of(make_superuser())
    choices = {"name": "每日", "report": report.pk, "users": [person.pk], "_enable": "1", "_buttons": "1"}

    page = client.post(address, {**sent_form(client, address), **choices})

    text = page.content.decode()
    assert page.status_code == 200
    assert missing in text
    assert WHERE in text
