"""Whose rights a picture of a page is taken with: the owner's by the owner's own will alone, and not for ever."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import User
from integrations.models import Corp
from notifications.admin.push.form import copy_push
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.ownership import (
    NotTheOwnerError,
    end_page_rights,
    explain_showing_as,
    may_show_as,
    show_as_owner,
    show_as_recipients,
)
from notifications.models import Delivery, PagePicture, Report, Run
from tests.notifications.factories import NOW, make_person, make_report, make_subscription

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_person(corp, "Owner", name="李雷")


@pytest.fixture
def other(corp: Corp) -> User:
    return make_person(corp, "Other", name="韩梅梅")


@pytest.fixture
def report(corp: Corp) -> Report:
    return make_report(corp=corp)


def make_picture(report: Report, **fields: Any) -> PagePicture:
    return PagePicture.objects.create(report=report, **{"bi_id": "p1", "name": "销售看板", **fields})


def test_the_owner_of_all_pushes_may_show_what_they_see(report: Report, owner: User) -> None:
    make_subscription(owner=owner, report=report)
    picture = make_picture(report, ended_at=NOW)

    show_as_owner(picture, by=owner)

    picture.refresh_from_db()
    assert (picture.shown_as, picture.ended_at) == (owner, None)


def test_of_a_new_report_its_writer_may(owner: User) -> None:
    assert may_show_as(Report(), owner)


def test_nobody_else_may(report: Report, owner: User, other: User) -> None:
    make_subscription(owner=owner, report=report)
    picture = make_picture(report)

    with pytest.raises(NotTheOwnerError):
        show_as_owner(picture, by=other)

    make_subscription(owner=other, report=report)  # a second push of the same content
    with pytest.raises(NotTheOwnerError):
        show_as_owner(picture, by=owner)
    assert PagePicture.objects.get().shown_as is None


def test_nor_somebody_who_is_disabled(report: Report, owner: User) -> None:
    owner.is_active = False

    assert not may_show_as(report, owner)


def test_it_ends_when_somebody_else_edits_and_the_owner_is_told(report: Report, owner: User, other: User) -> None:
    push = make_subscription(owner=owner, report=report, name="每日九点")
    picture = make_picture(report, shown_as=owner)

    [notice_id] = end_page_rights(report, by=other, now=NOW)

    picture.refresh_from_db()
    assert (picture.shown_as, picture.ended_by, picture.ended_at) == (None, other, NOW)
    render_run(run_id=notice_id, now=NOW)
    delivery = Delivery.objects.get()
    assert "韩梅梅" in delivery.text
    assert "每日九点" in delivery.text
    assert "销售看板" in delivery.text
    assert delivery.link == reverse("admin:notifications_subscription_change", args=[push.pk])
    assert [receipt.user for receipt in delivery.receipts.all()] == [owner]
    assert end_page_rights(report, by=other, now=NOW) == []


def test_it_goes_on_after_the_owners_own_edit(report: Report, owner: User) -> None:
    picture = make_picture(report, shown_as=owner)

    assert end_page_rights(report, by=owner, now=NOW) == []

    picture.refresh_from_db()
    assert picture.shown_as == owner
    assert not Run.objects.exists()


def test_the_notice_stands_also_where_the_push_is_gone(report: Report, owner: User, other: User) -> None:
    picture = make_picture(report, shown_as=owner)
    [notice_id] = end_page_rights(report, by=other, now=NOW)
    picture.delete()

    render_run(run_id=notice_id, now=NOW)

    assert Delivery.objects.get().link == ""


def test_each_recipient_again(report: Report, owner: User) -> None:
    picture = make_picture(report, shown_as=owner)

    show_as_recipients(picture)

    picture.refresh_from_db()
    assert picture.shown_as is None


def test_a_copy_shows_each_recipient_their_own(report: Report, owner: User) -> None:
    make_picture(report, shown_as=owner, width="phone")

    copied = copy_push(make_subscription(owner=owner, report=report), owner=owner)

    picture = PagePicture.objects.get(report=copied.report)
    assert (picture.shown_as, picture.bi_id, picture.width) == (None, "p1", "phone")


def test_what_it_means_is_said_with_the_name(owner: User) -> None:
    assert explain_showing_as(owner).count("李雷") == 2
