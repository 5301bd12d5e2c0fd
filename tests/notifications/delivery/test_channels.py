"""Channels: the same receipts for each, and how each treats an answer or the lack of one."""

import json
import smtplib
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends import locmem
from django.db import connection
from pytest_django import Settings

from accounts.models import User, WeComAccount
from integrations.models import Corp
from notifications.delivery import maintenance
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.recall import withdraw_recipients
from notifications.models import Attempt, CorpQueue, Delivery, MessageForm, Receipt, Robot, Run, Subscription
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_run, make_subscription
from tests.notifications.leavers import disable, suspend, unlink
from tests.notifications.one_delivery import claim_delivery, send_all
from tests.notifications.wecom_stub import WeComStub, errcode, reset

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot(corp: Corp) -> Robot:
    return Robot.objects.create(name="销售群", corp=corp, key="robot-key-1")


def render_deliveries(subscription: Subscription, **fields: Any) -> list[Delivery]:
    ids = render_run(run_id=make_run(subscription, **fields).pk, now=NOW)
    return list(Delivery.objects.filter(pk__in=ids).order_by("pk"))


Leave = Callable[[Corp, str], None]


def read_receipts() -> list[tuple[str, str, str, str]]:
    rows = Receipt.objects.order_by("channel", "address").select_related("delivery")
    return [
        (row.channel, row.address, row.status or (row.delivery.status if row.delivery else ""), row.reason)
        for row in rows
    ]


class TestTheGroupRobot:
    def to_group(self, robot: Robot, **fields: Any) -> Delivery:
        [delivery] = render_deliveries(make_subscription(channel="robot", robot=robot, **fields))
        return delivery

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            (MessageForm.TEXT, {"msgtype": "text", "text": {"content": "日报\n100 万\nhttps://bi.example.com/7"}}),
            (
                MessageForm.MARKDOWN,
                {
                    "msgtype": "markdown",
                    "markdown": {"content": "**日报**\n100 万\n[查看全部](https://bi.example.com/7)"},
                },
            ),
            (MessageForm.TEXTCARD, {"msgtype": "text", "text": {"content": "日报\n100 万\nhttps://bi.example.com/7"}}),
        ],
    )
    def test_a_message_goes_into_the_group(
        self, form: MessageForm, expected: dict[str, Any], robot: Robot, wire: WeComStub, clock: FakeClock
    ) -> None:
        report = make_report(body="100 万", link="https://bi.example.com/7")
        self.to_group(robot, report=report, message_form=form)

        assert send_all(clock) == 1

        assert [json.loads(body) for body in wire.bodies] == [expected]
        assert read_receipts() == [("robot", f"robot:{robot.pk}", "accepted", "")]
        run = Run.objects.get()
        assert (run.recipient_count, run.skipped_count) == (1, 0)

    @pytest.mark.parametrize(
        ("fields", "said"),
        [({"body": "100 万"}, "日报\n100 万"), ({"body": "x", "link": "/7"}, "日报\nx\nhttp://localhost:3001/7")],
    )
    def test_only_the_reports_own_link_goes_into_the_group_through_the_companys_proxy(
        self, fields: dict[str, str], said: str, corp: Corp, robot: Robot, wire: WeComStub, clock: FakeClock
    ) -> None:
        Corp.objects.filter(pk=corp.pk).update(api_base_url="http://wecom.example.com", proxy_url=wire.url)
        self.to_group(robot, report=make_report(**fields), message_form=MessageForm.TEXT)

        assert send_all(clock) == 1

        assert [json.loads(body)["text"]["content"] for body in wire.bodies] == [said]

    @pytest.mark.parametrize("answer", [reset, errcode(-1), None], ids=["reset", "-1", "dead worker"])
    def test_what_is_unclear_is_unknown_at_once_and_never_repeated(
        self, answer: Any, robot: Robot, wire: WeComStub, clock: FakeClock
    ) -> None:
        delivery = self.to_group(robot)
        if answer is None:
            claim_delivery(delivery.pk, now=NOW)
            maintenance.sweep_deliveries(now=clock.advance(seconds=61))
        else:
            wire.sends.append(answer)
            send_all(clock)

        delivery.refresh_from_db()
        assert (delivery.status, delivery.unclear_since) == (Delivery.Status.UNKNOWN, NOW)
        clock.advance(hours=1)
        assert send_all(clock) == 0
        assert len(wire.bodies) == (answer is not None)

    def test_twenty_a_minute_go_and_the_next_waits(self, robot: Robot, clock: FakeClock) -> None:
        for _ in range(21):
            self.to_group(robot)

        assert send_all(clock) == 20

        held = Delivery.objects.get(status=Delivery.Status.PENDING)
        assert 55 < (held.next_attempt_at - NOW).total_seconds() <= 61

    def test_a_removed_robot_holds_up_its_own_messages_and_not_the_company(
        self, robot: Robot, corp: Corp, wire: WeComStub, clock: FakeClock
    ) -> None:
        self.to_group(robot)
        wire.sends.append(errcode(93000))

        send_all(clock)

        [held] = Delivery.objects.all()
        assert (held.status, held.errcode) == (Delivery.Status.PENDING, 93000)
        assert not CorpQueue.objects.blocked().exists()
        render_deliveries(make_subscription(make_person(corp, "lilei")))
        assert send_all(clock) == 1

    def test_a_deleted_robots_message_is_refused(self, robot: Robot, wire: WeComStub, clock: FakeClock) -> None:
        Robot.objects.create(name="别的群", corp=robot.corp, key="robot-key-2")
        delivery = self.to_group(robot)
        Subscription.objects.update(robot=None)
        robot.delete()

        send_all(clock)

        delivery.refresh_from_db()
        assert (delivery.status, wire.bodies) == (Delivery.Status.FAILED, [])

    def test_a_trial_goes_to_the_person_who_asks(self, robot: Robot, corp: Corp) -> None:
        me = make_person(corp, "me")

        [delivery] = render_deliveries(
            make_subscription(channel="robot", robot=robot), trigger=Run.Trigger.TRIAL, requested_by=me
        )

        assert (delivery.channel, json.loads(bytes(delivery.body))["touser"]) == ("wecom", "me")


class Refusing(locmem.EmailBackend):
    """A mail backend that fails with the errors that the test sets."""

    open_error: Exception | None = None
    send_error: Exception | None = None

    def open(self) -> bool:
        if Refusing.open_error is not None:
            raise Refusing.open_error
        return True

    def send_messages(self, messages: Any) -> int:
        if Refusing.send_error is not None:
            raise Refusing.send_error
        return super().send_messages(messages)


class TestMail:
    def to(self, *people: User, **fields: Any) -> list[Delivery]:
        return render_deliveries(
            make_subscription(*people, channel="email", report=make_report(body="100 万"), **fields)
        )

    def test_each_person_gets_one_of_his_own(self, corp: Corp, clock: FakeClock, settings: Settings) -> None:
        settings.DEFAULT_FROM_EMAIL = "bi@example.com"
        first, second = make_person(corp, "a", email="a@example.com"), make_person(email="b@example.com")
        self.to(first, second)

        assert send_all(clock) == 2
        mark = Delivery.objects.get(receipts__user=first).mark

        sent = {message.to[0]: message for message in mail.outbox}
        assert set(sent) == {"a@example.com", "b@example.com"}
        message = sent["a@example.com"]
        assert (message.subject, message.from_email) == ("日报", "bi@example.com")
        assert message.body == f"100 万\n\n查看全部: http://localhost:3001/m/{mark}/\n"
        assert message.extra_headers["Message-ID"] == f"<{mark}@localhost>"
        assert read_receipts() == [
            ("email", f"mail:{first.pk}:a@example.com", "accepted", ""),
            ("email", f"mail:{second.pk}:b@example.com", "accepted", ""),
        ]

    def test_two_people_with_one_address_get_one_each_and_others_are_skipped_with_the_reason(self, corp: Corp) -> None:
        people = [make_person(corp, userid, email="team@example.com") for userid in ("a", "b")]
        others = make_person(corp, "c"), make_person(corp, "d", email="d@example.com", is_active=False)

        assert len(self.to(*people, *others)) == 2

        assert sorted(reason for *_rest, reason in read_receipts()) == ["", "", "no_email", "user_disabled"]

    @pytest.mark.parametrize(
        ("errors", "status", "outcome"),
        [
            ({"open_error": ConnectionRefusedError()}, "pending", "not_sent"),
            ({"open_error": smtplib.SMTPAuthenticationError(535, b"no")}, "pending", "not_sent"),
            ({"send_error": smtplib.SMTPRecipientsRefused({"a": (550, b"no")})}, "failed", "refused"),
            ({"send_error": smtplib.SMTPRecipientsRefused({"a": (450, b"later")})}, "pending", "not_sent"),
            ({"send_error": smtplib.SMTPDataError(554, b"no")}, "failed", "refused"),
            ({"send_error": smtplib.SMTPDataError(451, b"later")}, "pending", "not_sent"),
            ({"send_error": smtplib.SMTPServerDisconnected()}, "unknown", "unclear"),
            ({"send_error": TimeoutError()}, "unknown", "unclear"),
        ],
    )
    def test_what_a_mail_server_says(
        self,
        errors: dict[str, Exception],
        status: str,
        outcome: str,
        corp: Corp,
        clock: FakeClock,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        [delivery] = self.to(make_person(corp, "a", email="a@example.com"))

        settings.EMAIL_BACKEND = f"{__name__}.Refusing"
        for name, error in errors.items():
            monkeypatch.setattr(Refusing, name, error)
        send_all(clock)

        delivery.refresh_from_db()
        assert delivery.status == status
        assert Attempt.objects.get().outcome == outcome
        assert not CorpQueue.objects.blocked().exists()

    @pytest.mark.parametrize("fields", [{"channel": "email"}, {"fallback_channel": "email"}])
    @pytest.mark.parametrize("leave", [suspend, unlink])
    def test_whom_wecom_does_not_let_in_gets_no_mail_either(
        self, corp: Corp, leave: Leave, fields: dict[str, Any]
    ) -> None:
        """Holds even if there is another obstacle, too."""
        person = make_person(corp, "jim", email="jim@example.com")
        leave(corp, "jim")

        assert render_deliveries(make_subscription(person, **fields)) == []

        assert [reason for *_rest, reason in read_receipts()] == ["barred"]

    @pytest.mark.parametrize("leave", [disable, suspend, unlink])
    def test_a_mail_that_waits_for_a_leaver_is_canceled(self, corp: Corp, leave: Leave) -> None:
        leaver, other = (make_person(corp, one, email=f"{one}@example.com") for one in ("jim", "han"))
        self.to(leaver, other)
        leave(corp, "jim")

        withdraw_recipients(corp, ["jim"], NOW)

        assert read_receipts() == [
            ("email", f"mail:{leaver.pk}:jim@example.com", "skipped", "barred"),
            ("email", f"mail:{other.pk}:han@example.com", "pending", ""),
        ]
        assert Delivery.objects.get(receipts__user=leaver).status == "canceled"
        run = Run.objects.get()
        assert (run.recipient_count, run.skipped_count) == (1, 1)

    @pytest.mark.parametrize(
        ("leave", "is_of_other", "status"),
        [
            *((leave, False, "canceled") for leave in (disable, suspend, unlink)),
            *((leave, True, "pending") for leave in (suspend, unlink)),
        ],
    )
    def test_so_is_one_that_stands_with_another_company_unless_they_belong_to_it(
        self, corp: Corp, leave: Leave, is_of_other: bool, status: str
    ) -> None:
        """Uses a mail that was written with another company, as the leaver's company was disabled."""
        person, other = make_person(corp, "jim", email="jim@example.com"), make_corp()
        if is_of_other:
            person.wecom_accounts.create(corp=other, userid="jim2", is_primary=False)
        Corp.objects.filter(pk=corp.pk).update(is_enabled=False)
        self.to(person)
        assert Delivery.objects.get().corp == other
        leave(corp, "jim")

        withdraw_recipients(corp, ["jim"], NOW)

        assert Delivery.objects.get().status == status
        assert [row[2] for row in read_receipts()] == ["pending" if is_of_other else "skipped"]

    def test_without_any_company_there_is_nobody_to_see_it(self) -> None:
        run = make_run(make_subscription(make_person(email="a@example.com"), channel="email"))

        assert render_run(run_id=run.pk, now=NOW) == []

        run.refresh_from_db()
        assert run.status == Run.Status.FAILED


class TestTheSecondChannel:
    def test_takes_those_whom_the_first_cannot_reach(self, corp: Corp, clock: FakeClock) -> None:
        reached = make_person(corp, "lilei", email="lilei@example.com")
        other, nobody = make_person(email="b@example.com"), make_person()
        unlinked = make_person(corp, "jim", email="jim@example.com")
        WeComAccount.objects.filter(user=unlinked).update(userid="", userid_folded="")
        render_deliveries(make_subscription(reached, other, nobody, unlinked, fallback_channel="email"))

        assert send_all(clock) == 3

        assert sorted(message.to[0] for message in mail.outbox) == ["b@example.com", "jim@example.com"]
        assert set(read_receipts()) == {
            ("email", f"mail:{other.pk}:b@example.com", "accepted", "no_account"),
            ("email", f"mail:{unlinked.pk}:jim@example.com", "accepted", "no_userid"),
            ("wecom", f"{corp.pk}:lilei", "accepted", ""),
            ("wecom", f"user:{nobody.pk}", "skipped", "no_account"),
        }

    @pytest.mark.parametrize(
        "answer",
        [{"errcode": 0, "errmsg": "ok", "invaliduser": "jim", "unlicenseduser": "han"}, errcode(81013)],
        ids=["some", "all"],
    )
    def test_takes_those_whom_wecom_refuses_before_the_run_is_finished(
        self, answer: Any, corp: Corp, wire: WeComStub, clock: FakeClock
    ) -> None:
        people = [make_person(corp, userid, email=f"{userid}@example.com") for userid in ("jim", "han")]
        people.append(make_person(corp, "without"))
        render_deliveries(make_subscription(*people, fallback_channel="email"))
        wire.sends.append(answer)
        send_all(clock)

        maintenance.sweep_deliveries(now=clock.now)
        maintenance.sweep_deliveries(now=clock.now)
        assert Run.objects.get().status == Run.Status.SENDING
        assert send_all(clock) == 2

        assert sorted(message.to[0] for message in mail.outbox) == ["han@example.com", "jim@example.com"]
        maintenance.sweep_deliveries(now=clock.now)
        assert Run.objects.get().status == Run.Status.FINISHED
        assert Receipt.objects.filter(channel="email").count() == 2

    def test_takes_them_before_whichever_statement_of_a_sweep_the_answer_is_written_down(
        self, corp: Corp, wire: WeComStub, clock: FakeClock
    ) -> None:
        statements = count(1)

        def answered_before(position: int) -> Callable[..., Any]:
            def execute_after(execute: Any, *arguments: Any) -> Any:
                if next(statements) == position:
                    send_all(clock)
                return execute(*arguments)

            return execute_after

        for position in count(1):
            address = f"jim{position}@example.com"
            render_deliveries(
                make_subscription(make_person(corp, f"jim{position}", email=address), fallback_channel="email")
            )
            wire.sends.append(errcode(81013))
            statements = count(1)
            with connection.execute_wrapper(answered_before(position)):
                maintenance.sweep_deliveries(now=clock.now)
            if Delivery.objects.filter(status="pending", channel="wecom").exists():
                break  # it ended before that statement
            maintenance.sweep_deliveries(now=clock.now)
            send_all(clock)
            maintenance.sweep_deliveries(now=clock.now)
            assert [message.to for message in mail.outbox] == [[address]], position
            mail.outbox.clear()

        assert position > 10
        assert set(Run.objects.exclude(pk=Run.objects.latest("pk").pk).values_list("status", flat=True)) == {"finished"}

    @pytest.mark.parametrize("leave", [suspend, unlink])
    def test_is_not_used_for_a_leaver_whom_wecom_refuses(
        self, corp: Corp, wire: WeComStub, clock: FakeClock, leave: Leave
    ) -> None:
        render_deliveries(
            make_subscription(make_person(corp, "jim", email="jim@example.com"), fallback_channel="email")
        )
        wire.sends.append(errcode(81013))
        send_all(clock)
        leave(corp, "jim")

        maintenance.sweep_deliveries(now=clock.now)
        assert not Receipt.objects.filter(channel="email").exists()

    def test_is_not_used_for_what_nobody_knows(self, corp: Corp, clock: FakeClock) -> None:
        """Messages with an unknown outcome may have arrived, and a mail would be a second one."""
        render_deliveries(
            make_subscription(make_person(corp, "jim", email="jim@example.com"), fallback_channel="email")
        )
        Delivery.objects.update(status=Delivery.Status.UNKNOWN)

        maintenance.sweep_deliveries(now=clock.now)
        assert not Delivery.objects.filter(channel="email").exists()
