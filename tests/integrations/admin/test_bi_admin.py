"""The admin page of the BI: saving, keys, tests and entering. Secrets go in and are never shown."""

import re
from typing import Any

import pytest
import responses
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEntry, DirectoryPolicy
from accounts.users.roles import Role
from integrations.clients import guandata_sso
from integrations.models import BiConnection, Corp, DataSource, Job, SiteAddress
from tests.accounts.people import sent_form, with_role
from tests.bi import BI, KEY, PUBLIC, make_bi, read_claims
from tests.guandata import APP_TOKEN, PASSWORD
from tests.integrations.conftest import client_of
from tests.integrations.pages import errors_of, text_of
from tests.jobs import do_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_one_host")]
LIST = "/admin/integrations/biconnection/"
PAGE = f"{LIST}1/change/"


@pytest.fixture
def bi(db: None) -> BiConnection:
    return make_bi(is_enabled=False)


@pytest.fixture
def system_administrator(db: None) -> Client:
    return client_of(with_role("chief", Role.SYSTEM_ADMINISTRATOR))


def save(client: Client, **changes: Any) -> Any:
    sent = {name: value for name, value in {**sent_form(client, PAGE), **changes}.items() if value is not None}
    return client.post(PAGE, sent)


class TestConnection:
    def test_is_saved_and_the_page_stays(self, admin_client: Client) -> None:
        list_page = admin_client.get(LIST)
        assert (list_page.status_code, list_page.headers["Location"]) == (302, PAGE)

        typed = {"base_url": "HTTPS://Guandata.Example.com/", "provider": " Guan Bi ", "phone_page": ""}
        response = save(admin_client, **typed, token_seconds="30")

        assert (response.status_code, response.headers["Location"]) == (302, PAGE)
        saved = BiConnection.objects.get()
        assert (saved.base_url, saved.provider, saved.token_seconds, saved.phone_page) == (BI, "GuanBi", 30, "")

    REFUSED = {
        "base_url": [
            *("guandata.example.com", "http://guandata.example.com", "https://u:p@guandata.example.com"),
            *("https://guandata.example.com/?a=1", "javascript:alert(1)", "https://site.example.com/bi"),
        ],
        "token_seconds": ["9", "301", "-60", "x"],
        "desktop_page": ["/page/", "https://evil.example/{id}"],
        "phone_page": ["//evil.example/{id}", "/page/{id}?ssoToken=x"],
        "desktop_home": ["home", "//evil.example/", "/?ssoToken=x", "/?a=1&%73soToken%5B%5D=x"],
        "phone_home": ["/../x", "/x#y", "/m;provider=x"],
        "new_proxy_url": ["proxy"],
        "ca_bundle": ["no certificates"],
        "external_id_source": ["gone"],
        "provider": [""],
    }

    def test_what_cannot_be_is_refused_at_its_field(self, admin_client: Client, bi: BiConnection) -> None:
        SiteAddress.objects.create(url="https://site.example.com/")  # this site is not the BI
        before = BiConnection.objects.values().get()

        for number in range(max(map(len, self.REFUSED.values()))):
            typed = {name: values[number] for name, values in self.REFUSED.items() if number < len(values)}
            assert typed.keys() <= errors_of(save(admin_client, **typed)).keys()
            assert BiConnection.objects.values().get() == before

    def test_is_switched_on_once_it_has_address_and_key(self, admin_client: Client) -> None:
        admin_client.get(LIST)
        assert errors_of(save(admin_client, is_enabled="on")) == {
            "is_enabled": [
                "Enter the address of the BI first.",
                "Save without this tick, generate the key pair below, then switch it on.",
            ]
        }
        make_bi(is_enabled=False)

        assert save(admin_client, is_enabled="on").status_code == 302
        assert BiConnection.objects.get().is_enabled

    def test_an_identity_that_is_gone_stays_chosen(self, admin_client: Client) -> None:
        make_bi(is_enabled=False, external_id_source="gone")

        page = admin_client.get(PAGE).content.decode()

        assert '<option value="gone" selected>one that does not exist any more</option>' in page


class TestData:
    def test_with_all_that_cards_need_a_data_source_is_added_and_tested(
        self, admin_client: Client, bi: BiConnection
    ) -> None:
        response = save(admin_client, api_login="robot", new_api_password=PASSWORD, new_app_token=APP_TOKEN)

        source = DataSource.objects.get()
        assert (source.name, source.kind, source.corp) == ("Guandata BI", "guandata", None)
        page = text_of(admin_client.get(response["Location"]))
        assert "The data source “Guandata BI” was added" in page
        assert "The test is running…" in page
        assert LogEntry.objects.filter(object_repr="Guandata BI", action_flag=1).count() == 1
        Job.objects.all().delete()
        save(admin_client, desktop_home="/home")  # no test looks at this
        assert DataSource.objects.get() == source
        assert not Job.objects.exists()

    def test_without_one_of_them_there_is_none_and_its_name_is_counted(
        self, admin_client: Client, bi: BiConnection
    ) -> None:
        DataSource.objects.create(name="Guandata BI", kind="sql")
        sent = {"api_login": "robot", "new_api_password": PASSWORD, "new_app_token": APP_TOKEN}
        for missing in sent:
            assert save(admin_client, **{**sent, missing: ""}).status_code == 302
            assert not DataSource.objects.filter(kind="guandata").exists()
            BiConnection.objects.update(api_login="", api_password="", app_token="")
        save(admin_client, **sent)
        assert DataSource.objects.get(kind="guandata").name == "Guandata BI (2)"


class TestSecrets:
    def test_go_in_never_come_out_stay_and_are_removed(self, admin_client: Client, bi: BiConnection) -> None:
        proxy = "http://user:proxy-password@proxy.example.com:8080"
        response = save(
            admin_client, api_login="robot", new_api_password=PASSWORD, new_app_token=APP_TOKEN, new_proxy_url=proxy
        )

        assert response.status_code == 302
        saved = BiConnection.objects.get()
        assert (saved.api_password, saved.app_token, saved.proxy_url) == (PASSWORD, APP_TOKEN, proxy)
        pages = [admin_client.get(PAGE), admin_client.get(f"{LIST}1/history/"), admin_client.get(f"{LIST}state/")]
        shown = "".join(page.content.decode() for page in pages)
        shown += str(list(AuditEntry.objects.values())) + str(list(LogEntry.objects.values()))
        for secret in (PASSWORD, APP_TOKEN, "proxy-password", *KEY.splitlines()[1:-1]):
            assert secret not in shown
        assert pages[0].context["adminform"].form["new_api_password"].value() is None
        reader = client_of(with_role("reader", Role.READ_ONLY))
        assert "new_api_password" not in reader.get(PAGE).content.decode()

        assert save(admin_client, token_seconds="30").status_code == 302  # empty fields keep the saved values
        saved.refresh_from_db()
        assert (saved.api_password, saved.app_token, saved.proxy_url) == (PASSWORD, APP_TOKEN, proxy)
        save(admin_client, remove_app_token="on", remove_proxy="on")
        saved.refresh_from_db()
        assert (saved.app_token, saved.proxy_url) == ("", "")

    @pytest.mark.parametrize(
        "change", [{"base_url": "https://other.example.com"}, {"new_proxy_url": "http://proxy.example.com:8080"}]
    )
    def test_are_not_sent_another_way_unless_they_are_pasted_again(
        self, admin_client: Client, change: dict[str, str]
    ) -> None:
        make_bi(api_login="robot", api_password=PASSWORD, app_token=APP_TOKEN)

        assert set(errors_of(save(admin_client, **change))) == {"new_api_password", "new_app_token"}
        assert BiConnection.objects.get().base_url == BI
        assert save(admin_client, **change, new_api_password="again", new_app_token="again").status_code == 302


class TestWho:
    def test_a_system_administrator_cannot_say_who_receives_the_tokens_or_who_people_are(
        self, system_administrator: Client, bi: BiConnection
    ) -> None:
        sent = sent_form(system_administrator, PAGE)

        response = system_administrator.post(
            PAGE, {**sent, "base_url": "https://evil.example.com", "external_id_source": "email", "provider": "Abc"}
        )

        saved = BiConnection.objects.get()
        assert response.status_code == 302
        assert (saved.base_url, saved.external_id_source, saved.provider) == (BI, "username", "Abc")

    def test_what_decides_as_whom_people_enter_is_cautioned_about_where_that_can_be_abused(
        self, admin_client: Client, bi: BiConnection, corp: Corp
    ) -> None:
        cautions = ("administrators of single companies choose", "A directory policy takes it from WeCom")

        def cautioned() -> list[bool]:
            text = text_of(admin_client.get(PAGE))
            return [one in text for one in cautions]

        policy = DirectoryPolicy.objects.create(corp=corp, mode="link")
        Corp.objects.update(is_enabled=True)
        assert cautioned() == [False, False]
        with_role("limited", Role.SYSTEM_ADMINISTRATOR, corp)
        DirectoryPolicy.objects.filter(pk=policy.pk).update(mode="create")
        assert cautioned() == [True, True]
        make_bi(external_id_source="bi_login_id")
        assert cautioned() == [False, False]


class TestKey:
    def test_is_generated_and_its_public_half_shown_in_both_forms(self, admin_client: Client) -> None:
        admin_client.get(LIST)

        response = admin_client.post(f"{LIST}key/generate/", {"first": "1"})

        assert response.headers["Location"] == f"{PAGE}#key"
        saved = BiConnection.objects.get()
        key = guandata_sso.load_private_key(saved.private_key)
        page = admin_client.get(PAGE).content.decode()
        assert f'value="{guandata_sso.format_public_line(key)}"' in page
        assert guandata_sso.format_public_key(key) in page
        assert "管理中心 → 系统集成 → 单点登录" in page
        assert LogEntry.objects.filter(change_message__contains="Key pair generated").count() == 1
        admin_client.post(f"{LIST}key/generate/", {"first": "1"})  # a second "first" key is not made
        assert BiConnection.objects.get().private_key == saved.private_key
        admin_client.post(f"{LIST}key/generate/")
        assert BiConnection.objects.get().private_key != saved.private_key

    def test_that_exists_already_is_pasted(self, admin_client: Client, bi: BiConnection) -> None:
        own = guandata_sso.generate_private_key()

        response = admin_client.post(f"{LIST}key/paste/", {"private_key": "".join(own.splitlines()[1:-1])})

        assert response.headers["Location"] == f"{PAGE}#key"
        assert BiConnection.objects.get().private_key == own
        noted = AuditEntry.objects.get(model="integrations.biconnection", action=AuditEntry.Action.CHANGED)
        assert [change[0] for change in noted.changes] == ["private_key"]
        assert own.splitlines()[1] not in str(noted.changes)

    def test_that_is_none_is_explained_and_not_kept(self, admin_client: Client, bi: BiConnection) -> None:
        for text, words in ((PUBLIC, "This is a public key"), ("nothing", "This is no private key")):
            assert words in text_of(admin_client.post(f"{LIST}key/paste/", {"private_key": text}))

        assert BiConnection.objects.get().private_key == KEY

    def test_that_cannot_be_decrypted_is_said_so(
        self, admin_client: Client, bi: BiConnection, settings: Settings
    ) -> None:
        settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

        response = admin_client.get(PAGE)

        assert response.status_code == 200
        assert "cannot be read" in text_of(response)


class TestEntering:
    def test_as_oneself_before_people_may(self, admin_client: Client, bi: BiConnection) -> None:
        assert admin_client.get(f"{LIST}enter/").status_code == 405
        policy = admin_client.get(PAGE).headers["Content-Security-Policy"]  # the page may send its form there
        assert BI in next(part for part in policy.split(";") if part.strip().startswith("form-action")).split()

        response = admin_client.post(f"{LIST}enter/")

        assert response.status_code == 302
        assert read_claims(response.headers["Location"])["externalUserId"] == "root"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "no-store" in response.headers["Cache-Control"]
        assert "ssoToken" not in str(list(LogEntry.objects.values()))
        assert AuditEntry.objects.filter(note__contains="Test sign-in").count() == 1

    @pytest.mark.parametrize(
        ("broken", "words"),
        [
            ({"base_url": ""}, "The address of the BI is missing"),
            ({"key_saved_at": None}, "There is no key pair yet"),
            ({"private_key": "x"}, "The saved private key cannot be read"),
            ({"external_id_source": "email"}, "You have no “e-mail” that is yours alone"),
            ({"external_id_source": "gone"}, "does not exist any more"),
        ],
    )
    def test_says_what_is_missing(self, admin_client: Client, broken: dict[str, Any], words: str) -> None:
        make_bi(**broken)

        response = admin_client.post(f"{LIST}enter/", follow=True)

        assert response.redirect_chain == [(f"{PAGE}#test", 302)]
        assert words in text_of(response)


class TestTesting:
    def test_runs_in_the_background_and_shows_what_was_found(self, admin_client: Client, bi: BiConnection) -> None:
        with responses.RequestsMock() as wire:
            wire.add(responses.GET, f"{BI}/", status=200)
            response = admin_client.post(f"{LIST}test/")
            assert admin_client.get(f"{LIST}state/").json()["is_unfinished"] is True
            do_jobs()

        assert response.headers["Location"] == f"{PAGE}#test"
        state = admin_client.get(f"{LIST}state/").json()
        assert state["is_unfinished"] is False
        assert "The BI does not refuse a token for “root” (HTTP 200)" in state["html"]

    def test_a_refused_password_is_said_in_the_step_where_it_is_entered(
        self, admin_client: Client, bi: BiConnection
    ) -> None:
        refused = {"step": "api", "status": "wrong", "outcome": "refused", "facts": {"message": "wrong password"}}
        bi.check_results, bi.checked_version, bi.checked_at = [refused], bi.connection_version, timezone.now()
        bi.save()

        page, state = admin_client.get(PAGE).content.decode(), admin_client.get(f"{LIST}state/").json()

        sentence = "The BI refuses the API user: wrong password"
        assert sentence in state["parts"]["connection-state"]
        assert 'id="connection-state"' in page
        assert page.index(sentence) < page.index('name="base_url"')
        assert re.search(r"<fieldset[^>]*>\s*<h2[^>]*>Connection</h2>\s*<div[^>]*field-base_url", page)


class TestCompanies:
    """A company's fields that concern the BI, and the link builder."""

    def page(self, corp: Corp) -> str:
        return f"/admin/integrations/corp/{corp.pk}/change/"

    def saved(self, client: Client, corp: Corp, **changes: Any) -> Any:
        return client.post(self.page(corp), {**sent_form(client, self.page(corp)), **changes})

    def test_a_page_of_the_bi_is_the_home_page(self, admin_client: Client, corp: Corp) -> None:
        make_bi()
        elsewhere = ("https://evil.example/page/p1", f"{BI}.evil.example/page")
        for typed in (*elsewhere, "page//p1", "a/../b", "a\\b", "page/p1#x", "page/%2e%2e/x", "a" * 641):
            refused = self.saved(admin_client, corp, home_page="bi", home_bi_page=typed)
            assert set(errors_of(refused)) == {"home_bi_page"}

        for typed, kept in (("/page/p1?tab=2", "page/p1?tab=2"), (f"{BI}/", ""), ("报表/七", "报表/七")):
            assert self.saved(admin_client, corp, home_page="bi", home_bi_page=typed).status_code == 302
            corp.refresh_from_db()
            assert (corp.home_page, corp.home_bi_page) == ("bi", kept)

    def test_the_bi_is_no_home_page_before_it_is_connected_and_keeps_nothing_from_being_saved_later(
        self, admin_client: Client, corp: Corp
    ) -> None:
        assert set(errors_of(self.saved(admin_client, corp, home_page="bi"))) == {"home_page"}
        Corp.objects.filter(pk=corp.pk).update(home_page="bi")

        assert self.saved(admin_client, corp, name="新名字").status_code == 302

    def test_the_builder_takes_addresses_of_the_bi_and_says_where_a_link_leads(
        self, admin_client: Client, corp: Corp
    ) -> None:
        address = f"/admin/integrations/corp/{corp.pk}/link/"
        assert "bi/" not in [one[0] for one in admin_client.get(address).context["link"]["choices"]]
        make_bi()
        for typed, target, is_in_bi in (
            (f"{BI}/page/p1?tab=2", "page/p1?tab=2", True),
            (f"{BI}/m/0123", "bi/m/0123", True),
            (BI, "bi/", True),
            ("admin/", "admin/", False),
            ("bi/page/p1", "bi/page/p1", True),
        ):
            response = admin_client.get(address, {"page": "other", "path": typed})

            link = response.context["link"]
            assert "bi/" in [one[0] for one in link["choices"]]
            assert link["target"] == target
            assert ("a page of the BI" in text_of(response)) is is_in_bi
        Corp.objects.filter(pk=corp.pk).update(sign_in_enabled=False)  # now the link names our address of the page
        plain = admin_client.get(address, {"page": "other", "path": "page/p1"}).context["link"]
        assert plain["url"] == "http://localhost:3001/bi/page/p1"
