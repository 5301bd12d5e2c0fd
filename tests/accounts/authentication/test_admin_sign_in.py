"""Sign-in to the administration by WeCom, for staff only, and without passwords where they are switched off."""

from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.authentication import passwords
from accounts.models import AuditEntry, User, WeComAccount
from accounts.users.roles import Role
from integrations.models import Corp
from tests.accounts.conftest import DESKTOP, PASSWORD, Visitor, make_corp, make_person, query_of, visitor
from tests.accounts.people import sent_form, signed_in, with_role
from tests.accounts.wecom import WeCom
from tests.audit import clear_trail
from tests.browser_form import read_page_version

LOGIN = "/admin/login/"
ASKED = "/admin/integrations/corp/?q=北山"
POLICY = "/admin/accounts/signinpolicy/1/change/"


@pytest.fixture
def boss(corp: Corp) -> User:
    """A superuser with an account that has never signed in, of a company that allows administrators their rights."""
    Corp.objects.filter(pk=corp.pk).update(admin_rights_enabled=True)
    return make_person("boss", corp, "Boss", is_staff=True, is_superuser=True, password=PASSWORD)


class TestByWeCom:
    def test_the_login_page_offers_it_and_leads_back_to_the_page_asked_for(
        self, boss: User, corp: Corp, desktop: Visitor, wecom: WeCom
    ) -> None:
        sent_away = desktop.get("/admin/integrations/corp/", q="北山")
        login = desktop.client.get(sent_away.headers["Location"])
        text = login.content.decode()
        link = next(word for word in text.split('"') if word.startswith(f"/wecom/{corp.pk}/start/"))
        assert sent_away.headers["Location"].startswith(LOGIN)
        assert "登录管理后台" in text

        sent_to_wecom = desktop.client.get(link)
        wecom.gives("code", userid="Boss")
        state = query_of(sent_to_wecom.headers["Location"])["state"]
        landed = desktop.arrive(corp, code="code", state=state)

        assert landed.headers["Location"] == "/admin/integrations/corp/?q=%E5%8C%97%E5%B1%B1"
        assert desktop.client.get(landed.headers["Location"]).status_code == 200

    def test_with_several_companies_one_chooses_first(self, corp: Corp, other_corp: Corp, desktop: Visitor) -> None:
        login = desktop.get(LOGIN, next=ASKED).content.decode()
        link = next(word for word in login.split('"') if word.startswith("/login/company/"))
        choice = desktop.client.get(link.replace("&amp;", "&")).content.decode()

        assert f"/login/?corp={other_corp.pk}&amp;next=%2Fadmin%2Fintegrations%2Fcorp%2F%3Fq" in choice
        assert "北山制造" in choice

    def test_inside_wecom_straight_in(self, boss: User, corp: Corp, phone: Visitor, wecom: WeCom) -> None:
        answer = phone.get(LOGIN, next="/admin/accounts/user/")

        assert answer.headers["Location"] == f"/wecom/{corp.pk}/start/?next=%2Fadmin%2Faccounts%2Fuser%2F"

    @pytest.mark.parametrize("by_password", [False, True])
    def test_somebody_else_gets_a_clear_refusal_and_no_loop(
        self, corp: Corp, phone: Visitor, wecom: WeCom, by_password: bool
    ) -> None:
        make_person("lilei", corp, "LiLei", name="李雷", password=PASSWORD)
        if by_password:
            form = {"username": "lilei", "password": PASSWORD, "next": "/admin/"}
            refused = phone.client.post(LOGIN, form, follow=True)
        else:
            landed = phone.sign_in(corp, wecom, "LiLei", target="/admin/")
            refused = phone.client.get(landed.headers["Location"], follow=True)

        text = refused.content.decode()
        assert refused.status_code == 403
        assert "您不能进入管理后台" in text
        assert "李雷" in text
        assert 'action="/logout/"' in text

    def test_staff_signed_in_are_not_asked_again(self, boss: User) -> None:
        client = signed_in(boss)

        assert client.get(LOGIN).headers["Location"] == "/admin/"
        assert (
            client.get(LOGIN, {"next": ASKED}).headers["Location"] == "/admin/integrations/corp/?q=%E5%8C%97%E5%B1%B1"
        )

    @pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/admin/", "javascript:alert(1)"])
    def test_leads_nowhere_else(self, boss: User, corp: Corp, target: str) -> None:
        client = visitor(DESKTOP).client

        text = client.get(LOGIN, {"next": target}).content.decode()
        assert f'"/wecom/{corp.pk}/start/?next=%2Fadmin%2F"' in text
        assert '<input type="hidden" name="next" value="/admin/">' in text
        sent = client.post(LOGIN, {"username": "boss", "password": PASSWORD, "next": target})
        assert sent.headers["Location"] == "/admin/"


class TestSwitchingPasswordsOff:
    def prove(self, boss: User, corp: Corp) -> None:
        WeComAccount.objects.filter(user=boss, corp=corp).update(proven_corp_id=corp.pk, proven_userid="boss")

    def test_is_refused_until_a_superuser_has_signed_in_with_wecom(
        self, boss: User, corp: Corp, phone: Visitor, wecom: WeCom
    ) -> None:
        client = signed_in(boss)
        client.get("/admin/accounts/signinpolicy/")

        refused = client.post(POLICY, {})
        phone.sign_in(corp, wecom, "boss", target="/admin/")
        done = client.post(POLICY, read_page_version(client, POLICY))

        assert refused.status_code == 200
        assert "还没有超级用户通过企业微信登录过" in refused.content.decode()
        assert done.status_code == 302
        assert not passwords.is_password_enabled()

    @pytest.mark.parametrize(
        "loss",
        [
            *("no-staff", "no-superuser", "inactive", "company-disabled", "no-sign-in", "no-rights"),
            *("other-userid", "other-company"),
        ],
    )
    def test_what_counts_is_what_works_now(self, boss: User, corp: Corp, loss: str) -> None:
        self.prove(boss, corp)
        assert list(passwords.find_wecom_superusers()) == [boss]
        account, user = WeComAccount.objects.filter(user=boss), User.objects.filter(pk=boss.pk)
        company = Corp.objects.filter(pk=corp.pk)
        {
            "no-staff": lambda: user.update(is_staff=False),
            "no-superuser": lambda: user.update(is_superuser=False),
            "inactive": lambda: user.update(is_active=False),
            "company-disabled": lambda: company.update(is_enabled=False),
            "no-sign-in": lambda: company.update(sign_in_enabled=False),
            "no-rights": lambda: company.update(admin_rights_enabled=False),
            "other-userid": lambda: account.update(userid="x", userid_folded="x"),
            "other-company": lambda: account.update(corp=make_corp("第三家", 3)),
        }[loss]()

        assert not passwords.find_wecom_superusers().exists()
        with pytest.raises(ValidationError):
            passwords.set_password_enabled(is_enabled=False)
        assert passwords.is_password_enabled()

    def test_system_administrators_may_but_no_superuser_no_switching_off(self, boss: User, corp: Corp) -> None:
        chief = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR))
        chief.get("/admin/accounts/signinpolicy/")
        refused = chief.post(POLICY, {})
        self.prove(boss, corp)

        assert refused.status_code == 200
        assert chief.post(POLICY, read_page_version(chief, POLICY)).status_code == 302
        assert AuditEntry.objects.get(model="accounts.signinpolicy", action="changed").actor_name == "chief"


class TestSwitchedOff:
    @pytest.fixture(autouse=True)
    def _off(self, boss: User, corp: Corp) -> None:
        WeComAccount.objects.filter(user=boss).update(proven_corp_id=corp.pk, proven_userid="boss")
        passwords.set_password_enabled(is_enabled=False)

    @pytest.mark.parametrize("page", ["/login/", LOGIN])
    def test_the_form_is_gone_and_the_right_password_is_refused_and_not_counted(self, page: str) -> None:
        client = visitor(DESKTOP).client
        text = client.get(page).content.decode()
        clear_trail()

        answers = [client.post(page, {"username": "boss", "password": PASSWORD}) for _ in range(7)]

        assert 'type="password"' not in text
        assert "/wecom/" in text
        assert {answer.status_code for answer in answers} == {403}
        assert "密码登录已关闭" in answers[0].content.decode()
        assert "_auth_user_id" not in client.session
        assert not AuditEntry.objects.exists()

    def test_no_other_way_takes_one_and_none_is_offered(self, rf: Any, other_corp: Corp) -> None:
        assert authenticate(rf.post("/"), username="boss", password=PASSWORD) is None
        assert authenticate(username="boss", password=PASSWORD) is None
        assert not Client().login(username="boss", password=PASSWORD)
        assert "stay=1" not in visitor(DESKTOP).client.get("/login/company/").content.decode()

    def test_disabling_the_last_way_in_is_warned_of(self, boss: User, corp: Corp, other_corp: Corp) -> None:
        client = signed_in(boss)
        last, other = (client.get(f"/admin/integrations/corp/{one.pk}/disable/") for one in (corp, other_corp))

        assert "请先打开密码登录" in last.content.decode()
        assert "请先打开密码登录" not in other.content.decode()
        passwords.set_password_enabled(is_enabled=True)
        last = client.get(f"/admin/integrations/corp/{corp.pk}/disable/")
        assert "请先打开密码登录" not in last.content.decode()

    @pytest.mark.parametrize("tick", ["sign_in_enabled", "admin_rights_enabled"])
    def test_the_last_way_in_is_not_lost_with_a_tick(self, boss: User, corp: Corp, other_corp: Corp, tick: str) -> None:
        client = signed_in(boss)

        def untick(one: Corp) -> Any:
            path = f"/admin/integrations/corp/{one.pk}/change/"
            sent = {name: value for name, value in sent_form(client, path).items() if name != tick}
            return client.post(path, sent)

        assert untick(other_corp).status_code == 302
        refused = untick(corp)
        assert "请先打开密码登录" in refused.context["adminform"].form.errors[tick][0]
        assert getattr(Corp.objects.get(pk=corp.pk), tick)
        passwords.set_password_enabled(is_enabled=True)
        assert untick(corp).status_code == 302
        assert not getattr(Corp.objects.get(pk=corp.pk), tick)

    @pytest.mark.usefixtures("in_english")
    def test_the_emergency_exit_opens_them_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("password_sign_in", "on")

        assert capsys.readouterr().out == "Sign-in with a password is on.\n"
        client = visitor(DESKTOP).client
        assert client.post(LOGIN, {"username": "boss", "password": PASSWORD}).status_code == 302
        entry = AuditEntry.objects.filter(model="accounts.signinpolicy").latest("pk")
        assert (entry.changes, entry.actor_name) == ([["password_enabled", False, True]], "")

    def test_the_exit_works_where_nobody_could_get_in_any_more(self, corp: Corp) -> None:
        Corp.objects.filter(pk=corp.pk).update(is_enabled=False)

        text = visitor(DESKTOP).client.get(LOGIN).content.decode()
        call_command("password_sign_in", "on")

        assert "请联系服务器的运维人员" in text
        assert passwords.is_password_enabled()
        with pytest.raises(CommandError, match="还没有超级用户"):
            call_command("password_sign_in", "off")


def test_a_sign_in_proves_the_account_that_it_came_through(
    boss: User, corp: Corp, other_corp: Corp, phone: Visitor, wecom: WeCom
) -> None:
    WeComAccount.objects.create(user=boss, corp=other_corp, userid="boss2", is_primary=False)

    phone.sign_in(corp, wecom, "BOSS")

    rows = WeComAccount.objects.order_by("pk").values_list("proven_corp_id", "proven_userid", "signed_in_at")
    assert rows[0][:2] == (corp.pk, "boss")
    assert rows[0][2] is not None
    assert rows[1] == (None, "", None)
