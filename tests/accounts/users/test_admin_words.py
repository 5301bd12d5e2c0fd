"""Our texts in place of Django's in the administration of people: permissions, passwords, deletions."""

import re

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.utils import translation
from django.utils.functional import Promise

from accounts.models import User
from accounts.users.roles import PermissionsField, Role, find_choosable_permissions
from integrations.models import Corp
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, signed_in

HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    ("codename", "chinese", "english"),
    [
        ("change_user", "人员 | 人员 · 修改", "People | person · change"),
        ("view_group", "认证和授权 | 人员组 · 查看", "Authentication and Authorization | group · view"),
        ("assign_roles", "人员 | 人员 · 可分配角色", "People | person · Can hand out roles"),
    ],
)
def test_a_permission_is_named_in_the_language_of_who_reads(
    db: None, codename: str, chinese: str, english: str
) -> None:
    permission, field = Permission.objects.get(codename=codename), PermissionsField(find_choosable_permissions())

    with translation.override("zh-hans"):
        assert field.label_from_instance(permission) == chinese
    with translation.override("en"):
        assert field.label_from_instance(permission) == english


def test_a_permission_is_kept_in_english_whoever_migrates() -> None:
    kept = [name for model in apps.get_models() for _codename, name in model._meta.permissions]

    assert kept
    assert [name for name in kept if isinstance(name, Promise)] == []


def test_permissions_to_choose_are_named_so(root: User) -> None:
    client = signed_in(root)

    pages = [client.get(path).text for path in ("/admin/auth/group/add/", f"{LIST}{root.pk}/change/")]

    for page in pages:
        assert "人员 | 人员 · 修改</label>" in page
        assert "Can change" not in page
        assert "access attempt" not in page.lower()


def test_a_roles_pages_are_for_reading_and_call_it_by_its_name(root: User) -> None:
    role, client = Group.objects.get(name=Role.READ_ONLY), signed_in(root)

    page, history = (client.get(f"/admin/auth/group/{role.pk}/{name}/").text for name in ("change", "history"))

    assert '<div class="readonly">只读</div>' in page
    assert "只读</h1>" in page
    assert "<div>人员 | 人员: 查看</div>" in page
    assert "Can view" not in page
    for shown in (page, history):
        assert "只读" in shown.split('<div class="breadcrumbs">')[1].split("</div>")[0]
        assert Role.READ_ONLY not in shown


def test_a_deletion_names_no_rows_that_only_join_two_others(corp: Corp, person: User, root: User) -> None:
    person.groups.add(Group.objects.create(name="readers"))
    person.managed_corps.add(corp)
    client = signed_in(root)

    page = client.get(f"{LIST}{person.pk}/delete/")

    assert "企业微信账号: 北山制造 / LiLei" in page.text
    assert "关系" not in page.text
    assert "object (" not in page.text
    assert set(map(str, dict(page.context["model_count"]))) == {"人员", "企业微信账号"}
    client.post(f"{LIST}{person.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=person.pk).exists()


def test_a_deletion_names_sessions_by_their_time(corp: Corp, root: User) -> None:
    other = make_person("zhang", corp, "zhang", is_staff=True)
    signed_in(other).get("/account/")

    page = signed_in(root).get(f"{LIST}{other.pk}/delete/").text

    assert re.search(r"会话: \d{4}-\d\d-\d\d \d\d:\d\d<", page)


@pytest.mark.parametrize("path", ["add/", "{}/password/"])
def test_what_is_said_of_passwords_is_in_the_language_of_who_reads(root: User, path: str) -> None:
    root.set_password("a long enough password")
    root.save()
    client = signed_in(root)
    url = LIST + path.format(root.pk)

    chinese = client.get(url).text
    english = client.get(url, headers={"accept-language": "en"}).text

    assert "不设密码时，此人只能通过企业微信登录。" in chinese
    assert "If disabled" not in chinese
    assert "Without a password the person signs in with WeCom only." in english
    assert HAN.findall(english.replace("中文", "")) == []
