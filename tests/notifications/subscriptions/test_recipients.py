"""People, groups and everyone become recipients: each once, each reachable or with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import translation

from accounts.models import DirectoryPolicy, User, WeComAccount
from integrations.models import Member
from notifications.models import Receipt, Run
from notifications.sources import Audience
from notifications.subscriptions.recipients import audience_of, count_reachability, resolve_audience
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
Reason = Receipt.Reason


def reasons(audience: Audience) -> dict[int, Receipt.Reason | None]:
    return {recipient.user_id: recipient.reason for recipient in resolve_audience(audience)}


def test_a_person_with_both_attributes_is_reached_at_the_account_as_given() -> None:
    corp = make_corp()
    person = make_person(corp, "LiLei")

    [recipient] = resolve_audience(Audience([person.pk]))

    assert (recipient.user_id, recipient.corp_id, recipient.userid) == (person.pk, corp.pk, "LiLei")
    assert (recipient.address, recipient.reason) == (f"{corp.pk}:lilei", None)


def test_each_reason() -> None:
    corp, other = make_corp(), make_corp()
    people = {
        Reason.NO_ACCOUNT: make_person(),
        Reason.NO_COMPANY: make_person(None, "lilei"),
        Reason.NO_USERID: make_person(corp, ""),
        Reason.BAD_USERID: make_person(corp, "a|b"),
        Reason.CORP_DISABLED: make_person(make_corp(is_enabled=False), "wang"),
        Reason.USER_DISABLED: make_person(corp, "gone", is_active=False),
    }
    stranger = make_person(other, "zhao")

    expected = {person.pk: reason for reason, person in people.items()}
    assert reasons(Audience([person.pk for person in people.values()])) == expected
    assert reasons(Audience([stranger.pk], corp_id=corp.pk)) == {stranger.pk: Reason.OTHER_CORP}


@pytest.mark.parametrize(
    "state",
    [
        {"presence": "deleted", "left_at": NOW},
        {"presence": "missing", "left_at": NOW},
        {"presence": "out_of_scope", "left_at": NOW},
        {"status": "disabled"},
        {"waits_since": NOW},
    ],
)
def test_whom_wecom_does_not_let_in_is_skipped_while_a_directory_policy_is_in_force(state: dict[str, Any]) -> None:
    corp = make_corp()
    person, colleague = make_person(corp, "LiLei"), make_person(corp, "han")
    times = {"first_seen_at": NOW, "changed_at": NOW}
    Member.objects.create(corp=corp, userid="LiLei", userid_folded="lilei", **times, **state)
    Member.objects.create(corp=corp, userid="han", userid_folded="han", **times)
    everybody = {person.pk: None, colleague.pk: None}
    assert reasons(Audience(list(everybody))) == everybody

    DirectoryPolicy.objects.create(corp=corp, mode="link")

    assert reasons(Audience(list(everybody))) == {person.pk: Reason.BARRED, colleague.pk: None}
    assert reasons(Audience(to_everyone=True)) == {colleague.pk: None}


@pytest.mark.parametrize("userid", ["@all", "@ALL", "a|b"])
def test_an_account_that_wecom_would_read_as_others_is_skipped(userid: str) -> None:
    person = make_person(make_corp(), userid)

    assert reasons(Audience([person.pk], to_everyone=True)) == {person.pk: Reason.BAD_USERID}


def test_a_skipped_person_has_an_address_of_his_own() -> None:
    person = make_person()

    [recipient] = resolve_audience(Audience([person.pk]))

    assert recipient.address == f"user:{person.pk}"


def test_a_person_named_in_every_way_counts_once() -> None:
    person = make_person(make_corp(), "lilei")
    groups = [Group.objects.create(name=name) for name in ("one", "two")]
    person.groups.set(groups)

    audience = Audience([person.pk], [group.pk for group in groups], to_everyone=True)

    assert reasons(audience) == {person.pk: None}


def test_groups_bring_their_members_and_nobody_else() -> None:
    corp = make_corp()
    member, _outsider = make_person(corp, "in"), make_person(corp, "out")
    group = Group.objects.create(name="sales")
    member.groups.add(group)

    assert reasons(Audience(group_ids=[group.pk])) == {member.pk: None}


def test_everyone_is_active_people_with_a_complete_account() -> None:
    corp = make_corp()
    linked = make_person(corp, "lilei")
    at_disabled = make_person(make_corp(is_enabled=False), "wang")
    make_person()
    make_person(corp, "")
    make_person(None, "zhao")
    make_person(corp, "gone", is_active=False)

    assert reasons(Audience(to_everyone=True)) == {linked.pk: None, at_disabled.pk: Reason.CORP_DISABLED}


def test_everyone_of_one_company_leaves_the_others_out() -> None:
    corp, other = make_corp(), make_corp()
    linked = make_person(corp, "lilei")
    make_person(other, "wang")

    assert reasons(Audience(to_everyone=True, corp_id=corp.pk)) == {linked.pk: None}


def test_only_the_primary_account_counts() -> None:
    corp, other = make_corp(), make_corp()
    person = make_person(corp, "lilei")
    WeComAccount.objects.create(user=person, corp=other, userid="lilei2", is_primary=False)
    only_secondary = User.objects.create(username="secondary")
    WeComAccount.objects.create(user=only_secondary, corp=corp, userid="sec", is_primary=False)

    found = {
        recipient.user_id: recipient.address for recipient in resolve_audience(Audience([person.pk, only_secondary.pk]))
    }

    assert found == {person.pk: f"{corp.pk}:lilei", only_secondary.pk: f"user:{only_secondary.pk}"}


def test_the_order_is_by_company_then_person() -> None:
    first, second = make_corp(), make_corp()
    people = [make_person(corp, f"u{n}") for n, corp in enumerate([second, first, second, first])]

    order = [recipient.user_id for recipient in resolve_audience(Audience(to_everyone=True))]

    assert order == [people[n].pk for n in (1, 3, 0, 2)]


def test_a_trial_is_for_the_person_who_asked() -> None:
    corp = make_corp()
    asker, other = make_person(corp, "asker"), make_person(corp, "other")
    subscription = make_subscription(other, report=make_report(corp=corp))

    trial = make_run(subscription, trigger=Run.Trigger.TRIAL, requested_by=asker)
    usual = make_run(subscription, trigger=Run.Trigger.MANUAL, requested_by=asker)

    assert audience_of(trial, subscription) == Audience((asker.pk,), corp_id=corp.pk)
    assert audience_of(usual, subscription) == Audience(
        (other.pk,), (), False, corp.pk, subscription_id=subscription.pk
    )


def test_reachability_counts_all_and_names_the_first() -> None:
    corp = make_corp()
    reached = make_person(corp, "lilei")
    lost = [make_person(name=f"Person {n}", username=f"lost{n}") for n in range(5)]

    found = count_reachability(
        Audience([reached.pk, *(person.pk for person in lost)]), seen_by=make_superuser(), named=2
    )

    assert (found.reachable_count, found.unreachable_count) == (1, 5)
    with translation.override("en"):
        said = [(one.name, one.recipient.reason_text) for one in found.unreachable]
    assert said == [(f"Person {n} (lost{n})", "not linked to WeCom") for n in range(2)]
    assert found.reasons == {Receipt.Reason.NO_ACCOUNT}


def test_people_whom_the_administrator_does_not_see_are_counted_but_not_named() -> None:
    corp, other = make_corp(), make_corp()
    gone, stranger = make_person(corp, "gone", is_active=False), make_person(other, "stranger")
    manager = make_manager(corp)

    found = count_reachability(Audience([gone.pk, stranger.pk], corp_id=corp.pk), seen_by=manager)

    assert found.unreachable_count == 2
    assert [person.name for person in found.unreachable] == [str(gone)]


def test_nobody_chosen_is_nobody() -> None:
    make_person(make_corp(), "lilei")

    assert count_reachability(Audience(), seen_by=make_superuser()).reachable_count == 0
