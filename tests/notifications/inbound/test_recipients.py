"""The people whom a message's addresses name. People out of reach are as unknown as those who do not exist."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Attribute, AttributeValue, User, WeComAccount
from integrations.models import BiConnection, Corp, Department, Member
from notifications.inbound.accept import IncomingDraft, preview_incoming
from notifications.inbound.recipients import (
    SAME_NAMED_AT_MOST,
    Address,
    AddressKind,
    AddressProblem,
    ResolvedAddresses,
    resolve_addresses,
)
from notifications.models import ApiToken, InboundChannel, IncomingMessage
from notifications.subscriptions.recipients import find_reachable_people
from tests.notifications.factories import NOW, make_corp, make_manager, make_person, make_superuser
from tests.notifications.inbound.factories import make_sender

pytestmark = pytest.mark.django_db
UNKNOWN, AMBIGUOUS = AddressProblem.UNKNOWN, AddressProblem.AMBIGUOUS


def make_department(corp: Corp, number: int, name: str, parent: int | None = None) -> Department:
    return Department.objects.create(corp=corp, wecom_department_id=number, wecom_parent_id=parent, name=name)


def make_member(corp: Corp, userid: str, place: Department) -> None:
    row = Member.objects.create(
        corp=corp, userid=userid, userid_folded=userid, name=userid, first_seen_at=NOW, changed_at=NOW
    )
    row.departments.add(place)


def find(*addresses: Address) -> ResolvedAddresses:
    return resolve_addresses(addresses, among=User.objects.all(), corps=Corp.objects.all())


def find_for(sender: ApiToken | InboundChannel, *addresses: Address) -> ResolvedAddresses:
    preview = preview_incoming(IncomingDraft(sender, IncomingMessage(), addresses))
    return ResolvedAddresses(frozenset(one.user_id for one in preview.recipients), preview.unknown)


@pytest.fixture
def corp() -> Corp:
    return make_corp(name="北山制造", corpid="ww0000000000000101")


@pytest.fixture
def zhang(corp: Corp) -> User:
    return make_person(corp, "ZhangWei", username="zhang", email="Zhang.Wei@example.test")


@pytest.mark.parametrize(
    "address",
    [
        Address(AddressKind.USER, "zhang"),
        Address(AddressKind.USERID, "zhangwei"),
        Address(AddressKind.USERID, "ZhangWei", corp="ww0000000000000101"),
        Address(AddressKind.USERID, "ZhangWei", corp="北山制造"),
        Address(AddressKind.EMAIL, "zhang.wei@example.test"),
    ],
)
def test_a_person_is_found_by_name_userid_and_mail_address(address: Address, zhang: User) -> None:
    make_person(make_corp(), "LiLei", username="li")

    assert find(address) == ResolvedAddresses(frozenset({zhang.pk}))


@pytest.mark.parametrize(
    "address",
    [
        Address(AddressKind.USER, "Zhang"),
        Address(AddressKind.USERID, "zhangwei", corp="ww0000000000000999"),
        Address(AddressKind.EMAIL, ""),
        Address(AddressKind.USER, "zh\0ang"),
        Address(AddressKind.USERID, "\ud800"),
        Address(AddressKind.ATTRIBUTE, "华东", attribute="nothing"),
        Address(AddressKind.DEPARTMENT, "9" * 5000),
        Address(AddressKind.GROUP, "销售"),
        Address(AddressKind.LOGIN_ID, "zhang"),
    ],
)
def test_what_names_nobody_is_unknown(address: Address, zhang: User) -> None:
    assert find(address) == ResolvedAddresses(frozenset(), [(address, UNKNOWN)])


def test_several_people_with_one_address_are_ambiguous(corp: Corp) -> None:
    make_person(corp, "Li", email="team@example.test")
    make_person(make_corp(), "li", email="TEAM@example.test")
    addresses = [Address(AddressKind.EMAIL, "team@example.test"), Address(AddressKind.USERID, "LI")]

    assert find(*addresses) == ResolvedAddresses(frozenset(), [(address, AMBIGUOUS) for address in addresses])


@pytest.mark.parametrize(("source", "value"), [("bi_login_id", "bi-7"), ("username", "zhang"), ("email", "z@b.test")])
def test_a_login_id_is_what_the_bi_knows_people_by(source: str, value: str, corp: Corp) -> None:
    zhang = make_person(corp, "ZhangWei", username="zhang", email="z@b.test")
    attribute = Attribute.objects.bi_login_ids().get()
    AttributeValue.objects.create(user=zhang, attribute=attribute, value="BI-7", folded="bi-7")
    BiConnection.objects.update_or_create(pk=1, defaults={"external_id_source": source})

    assert find(Address(AddressKind.LOGIN_ID, value)) == ResolvedAddresses(frozenset({zhang.pk}))


def test_attributes_and_groups_name_several_people(corp: Corp, zhang: User) -> None:
    li, other = make_person(corp, "Li"), make_person(corp, "Other")
    region = Attribute.objects.create(key="region", name="地区")
    for person in (zhang, li):
        AttributeValue.objects.create(user=person, attribute=region, value="华东", folded="华东")
    Group.objects.create(name="夜班").user_set.add(other)

    found = find(Address(AddressKind.ATTRIBUTE, "华东", attribute="region"), Address(AddressKind.GROUP, "夜班"))

    assert found == ResolvedAddresses(frozenset({zhang.pk, li.pk, other.pk}))


@pytest.mark.parametrize("value", ["2", "华东区"])
def test_a_department_names_whoever_stands_in_it_or_below(value: str, corp: Corp, zhang: User) -> None:
    make_department(corp, 1, "总部")
    make_department(corp, 2, "华东区", parent=1)
    below = make_department(corp, 3, "上海", parent=2)
    make_member(corp, "zhangwei", below)
    make_person(corp, "Li")

    assert find(Address(AddressKind.DEPARTMENT, value, corp="北山制造")) == ResolvedAddresses(frozenset({zhang.pk}))


def test_a_department_that_two_companies_have_is_named_with_its_company(corp: Corp, zhang: User) -> None:
    other = make_corp()
    li = make_person(other, "li")
    for one, userid in ((corp, "zhangwei"), (other, "li")):
        make_member(one, userid, make_department(one, 2, "华东区"))

    address = Address(AddressKind.DEPARTMENT, "2")

    assert find(address) == ResolvedAddresses(frozenset(), [(address, AMBIGUOUS)])
    assert find(Address(AddressKind.DEPARTMENT, "2", corp=other.corpid)) == ResolvedAddresses(frozenset({li.pk}))


@pytest.mark.parametrize("standing", [0, -1])
def test_of_departments_with_one_name_that_is_meant_where_somebody_stands_unless_too_many_have_it(
    standing: int, corp: Corp, zhang: User
) -> None:
    places = [make_department(corp, number, "仓库") for number in range(2, SAME_NAMED_AT_MOST + 2)]
    make_member(corp, "zhangwei", places[standing])
    address = Address(AddressKind.DEPARTMENT, "仓库")

    assert find(address) == ResolvedAddresses(frozenset({zhang.pk}))
    make_department(corp, 1, "仓库")
    assert find(address) == ResolvedAddresses(frozenset(), [(address, AMBIGUOUS)])
    assert find(Address(AddressKind.DEPARTMENT, str(places[standing].wecom_department_id))).user_ids == {zhang.pk}


def test_many_departments_are_looked_up_at_once(corp: Corp, zhang: User) -> None:
    """Look-ups hold the lock on the sender's row, for which the sender's next message waits."""
    place = make_department(corp, 2, "仓库 0")
    make_member(corp, "zhangwei", place)
    for number in range(3, 60):
        make_department(corp, number, f"仓库 {number % 20}", parent=2)

    with CaptureQueriesContext(connection) as one:
        find(Address(AddressKind.DEPARTMENT, "仓库 0"))
    with CaptureQueriesContext(connection) as many:
        found = find(*(Address(AddressKind.DEPARTMENT, f"仓库 {number}") for number in range(20)))

    assert found.user_ids == {zhang.pk}
    assert len(many) == len(one) <= 4


def test_people_of_other_companies_are_unknown_as_those_that_do_not_exist(corp: Corp, zhang: User) -> None:
    """Holds for people whose messages go through another company, too."""
    li = make_person(make_corp(), "li", username="li")
    token = make_sender(make_manager(corp))
    addresses = [Address(AddressKind.USER, name) for name in ("zhang", "li", "nobody")]

    found = find_for(token, *addresses)

    assert found == ResolvedAddresses(frozenset({zhang.pk}), [(addresses[1], UNKNOWN), (addresses[2], UNKNOWN)])
    assert li.pk not in find_reachable_people(token).values_list("pk", flat=True)
    zhang.wecom_accounts.update(is_primary=False)
    zhang.wecom_accounts.create(corp=make_corp(), userid="zw")
    assert list(find_reachable_people(token)) == []
    token.sends_to = "whom only a newer release knows"
    with pytest.raises(ValueError, match="SendReach"):
        find_reachable_people(token)


def test_a_token_reaches_its_companies_or_its_people_and_no_more_than_its_owner(corp: Corp, zhang: User) -> None:
    other = make_corp()
    li, manager = make_person(other, "li"), make_manager(corp)
    nobody = make_person(username="without-account")
    root = make_superuser()

    def reached(token: object) -> set[int]:
        return set(find_reachable_people(token).values_list("pk", flat=True))  # type: ignore[arg-type]  # a token

    chosen = make_sender(manager, sends_to="chosen")
    chosen.send_users.set([zhang, li])

    assert reached(make_sender(root)) >= {zhang.pk, li.pk, nobody.pk}
    assert reached(make_sender(root, sends_to="corps", send_corps=[other])) == {li.pk}
    assert reached(make_sender(manager, sends_to="corps", send_corps=[other])) == set()
    assert reached(make_sender(manager, sends_to="corps")) == set()
    assert reached(chosen) == {zhang.pk}


@pytest.mark.parametrize("corp_of_address", ["", "南山物流", "ww0000000000000202"])
def test_userids_and_departments_of_companies_out_of_reach_name_nobody(
    corp_of_address: str, corp: Corp, zhang: User
) -> None:
    """Matches would reveal who has an account there, and who belongs to which department."""
    other = make_corp(name="南山物流", corpid="ww0000000000000202")
    WeComAccount.objects.create(user=zhang, corp=other, userid="b-secret", is_primary=False)
    make_member(other, "b-secret", make_department(other, 7, "秘密项目"))
    addresses = [
        Address(AddressKind.USERID, "b-secret", corp=corp_of_address),
        Address(AddressKind.ACCOUNT, "b-secret", corp=corp_of_address),
        Address(AddressKind.DEPARTMENT, "秘密项目", corp=corp_of_address),
        Address(AddressKind.DEPARTMENT, "7", corp=corp_of_address),
    ]
    limited, everywhere = make_manager(corp), make_manager(corp, other)

    for sender in (
        make_sender(limited),
        make_sender(everywhere, sends_to="corps", send_corps=[corp]),
        InboundChannel.objects.create(name="Grafana", owner=limited),
        InboundChannel.objects.create(name="Grafana", owner=everywhere, corp=corp),
    ):
        assert find_for(sender, *addresses) == ResolvedAddresses(
            frozenset(), [(address, UNKNOWN) for address in addresses]
        )
    assert find_for(make_sender(everywhere), *addresses) == ResolvedAddresses(frozenset({zhang.pk}))


def test_a_channel_reaches_its_company_or_its_people(corp: Corp, zhang: User) -> None:
    other = make_corp()
    li, manager = make_person(other, "li"), make_manager(corp, other)
    channel = InboundChannel.objects.create(name="Grafana", owner=manager)

    def reached(**fields: Any) -> set[int]:
        InboundChannel.objects.filter(pk=channel.pk).update(**fields)
        channel.refresh_from_db()
        return set(find_reachable_people(channel).values_list("pk", flat=True))

    assert reached() == {zhang.pk, li.pk}
    assert reached(corp=other) == {li.pk}
    channel.users.set([zhang])
    assert reached(reach="chosen") == set()
    assert reached(corp=None) == {zhang.pk}
