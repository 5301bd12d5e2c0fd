"""The two attributes: they appear when the first company is enabled, explain themselves, and may be empty."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User, WeComAccount
from integrations.models import Corp
from integrations.models.fields import encrypted_columns
from tests.accounts.admin.test_admin import administrator, form_of
from tests.accounts.conftest import Visitor, make_corp, make_person
from tests.accounts.people import LIST, signed_in
from tests.accounts.wecom import WeCom
from tests.integrations.diagnosing import passed
from tests.statements import count_statements

HINT = "首次启用企业微信公司后，这里会出现“企业微信公司名称”和“企业微信账号”两个属性。"
NEITHER_NOR = "不是个人微信号，也不是企业微信名称"


@pytest.fixture
def new_corp(db: None) -> Corp:
    """A company that was entered and tested, but never enabled."""
    corp = make_corp("北山制造", 1, is_enabled=False)
    passed(corp)
    return corp


def list_page(client: Client, **query: str) -> Any:
    return client.get(LIST, query)


class TestBeforeTheFirstEnabling:
    def test_the_list_has_neither_columns_nor_filters_nor_bulk_action_and_the_forms_no_accounts(
        self, new_corp: Corp, root: User
    ) -> None:
        person, client = make_person("lilei", name="李雷"), signed_in(root)

        page = list_page(client, q="李雷")

        text = page.content.decode()
        changelist = page.context["cl"]
        assert changelist.list_display == ["action_checkbox", "username", "name", "is_active", "is_staff"]
        assert [spec.field_path for spec in changelist.filter_specs] == ["is_active", "is_staff"]
        assert [user.username for user in changelist.result_list] == ["lilei"]
        assert changelist.search_help_text == "用户名或姓名"
        assert "set_company" not in text
        assert HINT in text
        assert "/admin/integrations/corp/" in text
        for path in (f"{LIST}{person.pk}/change/", f"{LIST}add/"):
            text = client.get(path).content.decode()
            assert "wecom_accounts-" not in text
            assert HINT in text

    def test_nothing_sent_by_hand_links_anybody(self, new_corp: Corp, root: User) -> None:
        person = make_person("lilei")
        client = signed_in(root)
        sent = form_of(client, person)

        client.post(
            f"{LIST}{person.pk}/change/",
            {
                **sent,
                "wecom_accounts-TOTAL_FORMS": 1,
                "wecom_accounts-INITIAL_FORMS": 0,
                "wecom_accounts-0-corp": new_corp.pk,
                "wecom_accounts-0-userid": "lilei",
            },
        )
        client.post(LIST, {"action": "set_company", "_selected_action": person.pk, "apply": "1", "corp": new_corp.pk})

        assert not WeComAccount.objects.exists()

    def test_a_limited_administrator_adds_nobody_whom_they_would_not_see(self, new_corp: Corp) -> None:
        limited = administrator("limited", new_corp)
        of_all = signed_in(administrator("of-all", manages_all_corps=True))

        assert signed_in(limited).get(f"{LIST}add/").status_code == 403
        assert of_all.get(f"{LIST}add/").status_code == 200
        # There is no link to companies for people who may not see them.
        text = list_page(of_all).content.decode()
        assert HINT in text
        assert 'href="/admin/integrations/corp/"' not in text


class TestTheFirstEnabling:
    def enable(self, client: Client, corp: Corp) -> str:
        page = client.post(f"/admin/integrations/corp/{corp.pk}/enable/", follow=True)
        assert page.status_code == 200
        return page.content.decode()

    def test_tells_of_the_attributes_once_and_brings_them_at_once_and_for_good(
        self, new_corp: Corp, root: User
    ) -> None:
        client, person = signed_in(root), make_person("lilei")
        path = "/admin/accounts/attribute/"
        names = "<strong>企业微信公司名称</strong> · <strong>企业微信账号</strong>"
        assert names not in client.get(path).content.decode()

        told = self.enable(client, new_corp)
        client.post(f"/admin/integrations/corp/{new_corp.pk}/disable/")

        assert "用户已新增两个基础属性：“企业微信公司名称”和“企业微信账号”。" in told
        assert f'<a href="{LIST}">去设置</a>' in told
        text = client.get(path).content.decode()
        assert "<title>用户基础属性 | guanwecom</title>" in text
        assert names in text
        assert f'<a href="{LIST}">去设置</a>' in text
        page = list_page(client)
        text = page.content.decode()
        assert page.context["cl"].list_display[3:5] == ["company", "wecom_account"]
        assert "企业微信公司名称" in text
        assert 'value="set_company"' in text
        assert HINT not in text
        for form in (f"{LIST}{person.pk}/change/", f"{LIST}add/"):
            assert "wecom_accounts-0-userid" in client.get(form).content.decode()
        assert "已新增两个基础属性" not in self.enable(client, new_corp)

    def test_of_another_company_says_nothing(self, new_corp: Corp, root: User) -> None:
        make_corp("南湖贸易", 2)

        assert "已新增两个基础属性" not in self.enable(signed_in(root), new_corp)


@pytest.mark.parametrize("is_enabled", [False, True])
def test_the_list_asks_as_often_for_many_as_for_few(root: User, is_enabled: bool) -> None:
    corp = make_corp("北山制造", 1, is_enabled=is_enabled)
    client = signed_in(root)
    counts = []
    for names in ("ab", "cdefghijklmn"):
        for name in names:
            make_person(name, corp, name)
        client.get(LIST)
        counts.append(count_statements(client.get, LIST))

    assert counts[0] == counts[1]


class TestWhatTheAccountIs:
    """The specification's note: neither the personal WeChat ID nor the name in WeCom, but the ID in its contacts."""

    def test_stands_on_the_persons_page_with_the_way_there_and_at_the_search(
        self, corp: Corp, person: User, root: User
    ) -> None:
        client = signed_in(root)
        for path in (f"{LIST}{person.pk}/change/", f"{LIST}add/"):
            text = client.get(path).content.decode()

            assert f"企业微信账号是企业微信通讯录里的 ID，{NEITHER_NOR}。" in text
            assert "企业微信管理后台 → 通讯录 → 点击某个用户，或“批量导出”的文件" in text
            assert f"企业微信通讯录里的 ID：{NEITHER_NOR}。" in text  # beside the column's title
            assert "两项都可以留空" in text
        assert "企业微信账号（企业微信通讯录里的 ID）" in list_page(client).content.decode()


def test_the_company_can_only_be_chosen_and_the_list_reads_no_secret_of_one(
    corp: Corp, other_corp: Corp, person: User, root: User
) -> None:
    """Follow the specification's note 2: choose from entered companies, never type one."""
    client = signed_in(root)
    with CaptureQueriesContext(connection) as queries:
        text = client.get(LIST).content.decode()
    assert text.count(f'<td class="field-company">{corp.name}</td>') == 1
    secrets = [f'"integrations_corp"."{column}"' for column in encrypted_columns(Corp)]
    assert len(secrets) == 7
    assert [query["sql"] for query in queries if any(secret in query["sql"] for secret in secrets)] == []
    text = client.get(f"{LIST}{person.pk}/change/").content.decode()
    sent = {**form_of(client, person), "wecom_accounts-0-corp": "南湖贸易"}

    refused = client.post(f"{LIST}{person.pk}/change/", sent)

    assert '<select name="wecom_accounts-0-corp"' in text
    assert f'<option value="{other_corp.pk}">南湖贸易</option>' in text
    assert refused.status_code == 200
    assert person.wecom_accounts.get().corp == corp


class TestEitherMayBeEmpty:
    """An account without one of the two: saved silently; the sign-in then says what is missing and where to set it."""

    def save(self, root: User, person: User, corp: Corp | None, userid: str) -> None:
        client = signed_in(root)
        changes = {"wecom_accounts-0-corp": corp.pk if corp else "", "wecom_accounts-0-userid": userid}
        response = client.post(f"{LIST}{person.pk}/change/", {**form_of(client, person), **changes})
        assert response.status_code == 302

    def sign_in(self, phone: Visitor, corp: Corp, wecom: WeCom, code: str) -> str:
        """Return the page on which the person lands after WeCom."""
        wecom.gives(code, userid="LiLei")
        arrived = phone.arrive(corp, code=code, state=phone.begin(corp))
        return phone.get(arrived.headers["Location"]).content.decode()

    @pytest.mark.parametrize(
        ("has_company", "userid", "title", "what_to_do"),
        [
            (
                False,
                "LiLei",
                "您的用户缺少“企业微信公司名称”",
                "请管理员在管理后台打开您的用户，把“企业微信公司名称”选为“北山制造”。",
            ),
            (
                True,
                "",
                "您的企业微信账号还没有关联",
                "请联系本系统的系统管理员，把下面的账号发给对方。管理员在您的用户页面上填写“企业微信账号”，并把“企业微信公司名称”设为“北山制造”。",
            ),
        ],
    )
    def test_and_is_asked_for_at_sign_in(
        self,
        corp: Corp,
        person: User,
        root: User,
        phone: Visitor,
        wecom: WeCom,
        has_company: bool,
        userid: str,
        title: str,
        what_to_do: str,
    ) -> None:
        self.save(root, person, corp if has_company else None, userid)

        text = self.sign_in(phone, corp, wecom, "code-number-one")
        assert title in text
        assert what_to_do in text
        assert "LiLei" in text  # for the administrator
        assert phone.user_id is None

        self.save(root, person, corp, "LiLei")
        self.sign_in(phone, corp, wecom, "code-number-two")
        assert phone.user_id == person.pk
