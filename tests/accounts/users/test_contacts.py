"""The person to ask for what one may not do: which role, and who of the people one sees."""

import pytest

from accounts.models import User, WeComAccount
from accounts.users.roles import Role, describe_contacts
from integrations.models import Corp
from tests.accounts.people import with_role

pytestmark = pytest.mark.django_db
ADD_PUSH, SYNC_PERMISSION = "notifications.add_subscription", "integrations.sync_directory"


def make_staff(name: str, role: Role, *corps: Corp, account: Corp | None = None, **fields: bool) -> User:
    person = with_role(name, role, *corps, name=name, **fields)
    if account is not None:
        WeComAccount.objects.create(user=person, corp=account, userid=name)
    return person


@pytest.fixture
def reader(corp: Corp) -> User:
    return make_staff("reader", Role.READ_ONLY, corp)


def test_the_roles_that_may_are_named_and_where_none_may_nobody(reader: User) -> None:
    assert describe_contacts(reader, ADD_PUSH) == "请联系推送编辑或系统管理员。"
    assert describe_contacts(reader, "integrations.add_card") == "请联系推送编辑、集成管理员或系统管理员。"
    assert describe_contacts(reader, "integrations.change_biconnection", ()) == "请联系可管理全部公司的系统管理员。"
    assert describe_contacts(reader, "notifications.add_delivery") == ""
    assert describe_contacts(reader, "auth.add_group") == "请联系超级用户。"


def test_people_who_may_are_named_with_superusers_last(corp: Corp, root: User, reader: User) -> None:
    WeComAccount.objects.create(user=root, corp=corp, userid="Root")
    make_staff("乙", Role.PUSH_EDITOR, corp, account=corp)
    make_staff("甲", Role.SYSTEM_ADMINISTRATOR, account=corp)
    make_staff("丙", Role.INTEGRATION_ADMINISTRATOR, corp, account=corp)

    assert describe_contacts(reader, ADD_PUSH) == "请联系推送编辑或系统管理员：乙、甲、root。"


def test_of_many_three_are_named(corp: Corp, reader: User) -> None:
    for name in "ABCD":
        make_staff(name, Role.PUSH_EDITOR, corp, account=corp)

    assert describe_contacts(reader, ADD_PUSH) == "请联系推送编辑或系统管理员：A、B、C等人。"


def test_nobody_is_named_whom_one_does_not_see_or_who_could_not_help(
    corp: Corp, other_corp: Corp, reader: User
) -> None:
    make_staff("elsewhere", Role.PUSH_EDITOR, corp, account=other_corp)
    make_staff("without", Role.PUSH_EDITOR, other_corp, account=corp)
    make_staff("left", Role.PUSH_EDITOR, corp, account=corp, is_active=False)
    User.objects.filter(pk=make_staff("outside", Role.PUSH_EDITOR, corp, account=corp).pk).update(is_staff=False)

    assert describe_contacts(reader, ADD_PUSH) == "请联系推送编辑或系统管理员。"


def test_who_may_see_no_people_reads_no_name(corp: Corp, reader: User) -> None:
    make_staff("editor", Role.PUSH_EDITOR, corp, account=corp)
    reader.groups.clear()

    assert describe_contacts(User.objects.get(pk=reader.pk), ADD_PUSH) == "请联系推送编辑或系统管理员。"


def test_of_one_company_its_own_administrators_are_named(corp: Corp, other_corp: Corp, reader: User) -> None:
    reader.managed_corps.add(other_corp)
    make_staff("ours", Role.INTEGRATION_ADMINISTRATOR, corp, account=corp)
    make_staff("theirs", Role.INTEGRATION_ADMINISTRATOR, other_corp, account=other_corp)

    assert describe_contacts(reader, SYNC_PERMISSION, [corp.pk]) == "请联系集成管理员或系统管理员：ours。"
    assert describe_contacts(reader, SYNC_PERMISSION) == "请联系集成管理员或系统管理员：ours、theirs。"
    assert describe_contacts(reader, SYNC_PERMISSION, ()) == "请联系可管理全部公司的集成管理员或系统管理员。"
