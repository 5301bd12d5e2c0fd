"""Pictures of a BI page: which one each recipient gets, before any is taken."""

import json
from typing import Any

import pytest

from accounts.models import Attribute, AttributeValue, User
from accounts.users.attributes import ensure_bi_login_id
from integrations.clients.snapshots import Format, Theme, Width
from integrations.core import heartbeats
from integrations.models import Corp, Heartbeat
from notifications.delivery.attachments import SNAPSHOTS_QUEUE, find_obstacle, unpack_recipe
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.triggers import request_resend
from notifications.models import Channel, Delivery, Medium, MessageForm, Receipt, Report, Robot, Run, Subscription
from tests.bi import make_bi
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_run, make_subscription

pytestmark = pytest.mark.django_db


@pytest.fixture
def corp() -> Corp:
    make_bi()
    return make_corp()


@pytest.fixture
def people(corp: Corp) -> list[User]:
    return [make_person(corp, name, username=name) for name in ("lilei", "hanmeimei", "zhangsan")]


def make_push(*people: User, form: str = MessageForm.IMAGE, **fields: Any) -> Subscription:
    report: Report = fields.pop("report", None) or make_report()
    chosen = {"picture_bi_id": "p1", "picture_name": "销售看板"}
    chosen |= {name: fields.pop(name) for name in list(fields) if name.startswith("picture_")}
    for name, value in chosen.items():
        setattr(report, name, value)
    report.save()
    return make_subscription(*people, report=report, message_form=form, **fields)


def render_push(push: Subscription, **fields: Any) -> Run:
    run = make_run(push, **fields)
    render_run(run_id=run.pk, now=NOW)
    run.refresh_from_db()
    return run


def read_recipe(delivery: Delivery) -> dict[str, Any]:
    assert delivery.medium is not None
    return unpack_recipe(bytes(delivery.medium.recipe))


def read_identities() -> dict[str, str]:
    """Return the account with which each userid's picture is to be taken."""
    found = {}
    for delivery in Delivery.objects.select_related("medium"):
        for userid in json.loads(bytes(delivery.body))["touser"].split("|"):
            found[userid] = read_recipe(delivery)["identity"]
    return found


def test_each_gets_the_page_as_their_own_account_sees_it(people: list[User]) -> None:
    render_push(make_push(*people))

    assert read_identities() == {"lilei": "lilei", "hanmeimei": "hanmeimei", "zhangsan": "zhangsan"}
    assert Medium.objects.count() == 3
    assert set(Delivery.objects.values_list("status", flat=True)) == {Delivery.Status.PREPARING}


def test_people_who_are_one_account_in_the_bi_share_a_message_and_a_picture(people: list[User]) -> None:
    make_bi(external_id_source="bi_login_id")
    ensure_bi_login_id()
    login_id = Attribute.objects.get(is_bi_login_id=True)
    for person, account in zip(people, ("sales", "sales", "boss"), strict=True):
        AttributeValue.objects.create(attribute=login_id, user=person, value=account, folded=account, position=0)

    render_push(make_push(*people))

    assert read_identities() == {"lilei": "sales", "hanmeimei": "sales", "zhangsan": "boss"}
    assert sorted(delivery.recipient_count for delivery in Delivery.objects.all()) == [1, 2]
    assert Medium.objects.count() == 2


def test_what_is_to_be_on_it_is_in_the_recipe(people: list[User]) -> None:
    render_push(
        make_push(people[0], form=MessageForm.NEWS, picture_width="phone", picture_theme="dark", picture_kind="card")
    )

    recipe = read_recipe(Delivery.objects.get())
    assert (recipe["path"], recipe["identity"]) == ("card/p1", "lilei")
    assert (recipe["width"], recipe["theme"], recipe["kind"]) == (Width.PHONE, Theme.DARK, Format.PICTURE)
    assert recipe["cover_ratio"] == pytest.approx(1068 / 455)
    medium = Medium.objects.get()
    assert (medium.queue, medium.name, medium.content_type) == ("snapshots", "销售看板 2026-11-24.png", "image/png")
    assert medium.give_up_at is not None
    assert medium.give_up_at < Delivery.objects.get().expires_at


def test_a_file_is_the_pdf(people: list[User]) -> None:
    render_push(make_push(people[0], form=MessageForm.FILE))

    delivery = Delivery.objects.select_related("medium").get()
    assert read_recipe(delivery)["kind"] == Format.PDF
    assert delivery.medium is not None
    assert (delivery.medium.kind, delivery.medium.name) == (Medium.Kind.FILE, "销售看板 2026-11-24.pdf")


def test_beside_other_forms_it_stands_on_the_page_of_the_message(people: list[User]) -> None:
    render_push(make_push(people[0], form=MessageForm.TEXTCARD))

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.medium) == (Delivery.Status.PENDING, None)
    assert [title for _medium, title in delivery.shown_media] == ["销售看板"]


def test_nobody_without_an_account_or_the_right_to_enter_gets_it_and_the_receipt_says_why(
    corp: Corp, people: list[User]
) -> None:
    made = make_person(corp, "new", username="new1", made_username="new1")
    outside = make_person(make_corp(bi_sign_in_enabled=False), "outside", username="outside")

    run = render_push(make_push(people[0], made, outside))

    skipped, other = Receipt.objects.filter(status=Receipt.Status.SKIPPED).order_by("user")
    assert (skipped.user, skipped.reason, other.user) == (made, Receipt.Reason.NO_BI_IDENTITY, outside)
    assert "BI 账号" in skipped.get_reason_display()
    assert (run.recipient_count, run.skipped_count) == (1, 2)


def test_as_the_owner_all_get_one_picture(corp: Corp, people: list[User]) -> None:
    guest = make_person(corp, "guest", username="guest1", made_username="guest1")  # has no account in the BI
    owner = people[0]

    render_push(make_push(*people, guest, owner=owner, picture_shown_as=owner))

    delivery = Delivery.objects.get()
    assert read_recipe(delivery)["identity"] == "lilei"
    assert delivery.recipient_count == 4


def test_a_push_of_somebody_else_shows_each_their_own(people: list[User]) -> None:
    render_push(make_push(*people, owner=people[1], picture_shown_as=people[0]))

    assert read_identities()["zhangsan"] == "zhangsan"


def test_who_tries_it_sees_their_own_and_not_the_owners(people: list[User]) -> None:
    owner, editor, _other = people
    push = make_push(*people, owner=owner, picture_shown_as=owner)

    render_push(push, trigger=Run.Trigger.TRIAL, requested_by=editor)

    assert read_identities() == {"hanmeimei": "hanmeimei"}


def test_nor_when_a_trial_is_sent_again(corp: Corp, people: list[User]) -> None:
    """People without an account in the BI do not see the owner's picture by sending the trial again."""
    owner, editor = people[0], make_person(corp, "editor", username="editor1", made_username="editor1")
    push = make_push(*people, owner=owner, picture_shown_as=owner)
    trial = render_push(push, trigger=Run.Trigger.TRIAL, requested_by=editor)
    assert trial.skipped_count == 1

    [again], _is_new = request_resend(trial, number=1, with_unknown=False, person=editor, now=NOW)
    render_run(run_id=again.pk, now=NOW)

    again.refresh_from_db()
    assert (again.skipped_count, again.recipient_count) == (1, 0)
    assert not Medium.objects.exists()


def test_as_an_owner_without_an_account_nothing_is_sent(corp: Corp, people: list[User]) -> None:
    owner = make_person(corp, "boss", username="boss1", made_username="boss1")

    run = render_push(make_push(*people, owner=owner, picture_shown_as=owner))

    assert run.status == Run.Status.FAILED
    assert "BI 账号" in run.error_text


def test_a_robots_group_gets_the_owners_picture_alone(corp: Corp, people: list[User]) -> None:
    robot = Robot.objects.create(corp=corp, name="群", key="k")
    push = make_push(channel=Channel.ROBOT, robot=robot, owner=people[0])

    run = render_push(push)
    assert run.status == Run.Status.FAILED

    Report.objects.update(picture_shown_as=people[0])
    render_push(push)
    assert read_recipe(Delivery.objects.get())["identity"] == "lilei"


def test_without_a_connection_to_the_bi_the_run_says_so(people: list[User]) -> None:
    make_bi(is_enabled=False)

    run = render_push(make_push(*people))

    assert run.status == Run.Status.FAILED
    assert "BI" in run.error_text
    assert not Medium.objects.exists()


def test_what_a_preview_lacks_is_said(corp: Corp) -> None:
    assert "snapshots" in str(find_obstacle(now=NOW))

    heartbeats.write_heartbeat(kind=Heartbeat.Kind.WORKER, name="host:1", queues=[SNAPSHOTS_QUEUE])
    assert find_obstacle(now=Heartbeat.objects.get().beat_at) is None

    make_bi(is_enabled=False)
    assert find_obstacle(now=NOW) is not None
