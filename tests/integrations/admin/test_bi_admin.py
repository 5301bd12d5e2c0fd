"""The admin page of the BI: saved, keyed, tested and entered; secrets go in and never come out."""

from __future__ import annotations

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
from integrations.jobs.registry import LONG_WAIT
from integrations.models import BiConnection, Corp, DataSource, Job, SiteAddress
from tests.accounts.people import sent_form, with_role
from tests.bi import BI, KEY, PUBLIC, claims_in, make_bi
from tests.guandata import APP_TOKEN, PASSWORD
from tests.integrations.conftest import client_of
from tests.jobs import do_jobs

pytestmark = pytest.mark.django_db
LIST = "/admin/integrations/biconnection/"
PAGE = f"{LIST}1/change/"


@pytest.fixture(autouse=True)
def _one_host(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]


@pytest.fixture
def bi(db: None) -> BiConnection:
    return make_bi(is_enabled=False)


@pytest.fixture
def system_administrator(db: None) -> Client:
    return client_of(with_role("chief", Role.SYSTEM_ADMINISTRATOR))


def save(client: Client, **changes: Any) -> Any:
    sent = {name: value for name, value in {**sent_form(client, PAGE), **changes}.items() if value is not None}
    return client.post(PAGE, sent)


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return {name: list(words) for name, words in response.context["adminform"].form.errors.items()}


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


class TestConnection:
    def test_the_list_leads_to_the_one_row(self, admin_client: Client) -> None:
        response = admin_client.get(LIST)

        assert (response.status_code, response.headers["Location"]) == (302, PAGE)
        assert BiConnection.objects.count() == 1

    def test_is_saved_and_the_page_stays(self, admin_client: Client) -> None:
        admin_client.get(LIST)

        response = save(
            admin_client, base_url="HTTPS://Guandata.Example.com/", provider=" Guan Bi ", token_seconds="30"
        )

        assert (response.status_code, response.headers["Location"]) == (302, PAGE)
        saved = BiConnection.objects.get()
        assert (saved.base_url, saved.provider, saved.token_seconds) == (BI, "GuanBi", 30)

    @pytest.mark.parametrize(
        ("field", "typed"),
        [
            ("base_url", "guandata.example.com"),
            ("base_url", "http://guandata.example.com"),
            ("base_url", "https://u:p@guandata.example.com"),
            ("base_url", "https://guandata.example.com/?a=1"),
            ("base_url", "javascript:alert(1)"),
            ("token_seconds", "9"),
            ("token_seconds", "301"),
            ("token_seconds", "-60"),
            ("token_seconds", "x"),
            ("desktop_page", "/page/"),
            ("desktop_page", "https://evil.example/{id}"),
            ("phone_page", "//evil.example/{id}"),
            ("phone_page", "/page/{id}?ssoToken=x"),
            ("desktop_home", "home"),
            ("desktop_home", "//evil.example/"),
            ("phone_home", "/../x"),
            ("phone_home", "/x#y"),
            ("desktop_home", "/?ssoToken=x"),
            ("desktop_home", "/?a=1&%73soToken%5B%5D=x"),
            ("phone_home", "/m;provider=x"),
            ("new_proxy_url", "proxy"),
            ("ca_bundle", "no certificates"),
            ("external_id_source", "gone"),
            ("provider", ""),
        ],
    )
    def test_what_cannot_be_is_refused_at_its_field(
        self, admin_client: Client, bi: BiConnection, field: str, typed: str
    ) -> None:
        before = BiConnection.objects.values().get()

        assert field in errors(save(admin_client, **{field: typed}))
        assert BiConnection.objects.values().get() == before

    def test_this_site_is_not_the_bi(self, admin_client: Client, bi: BiConnection) -> None:
        SiteAddress.objects.create(url="https://site.example.com/")

        assert errors(save(admin_client, base_url="https://site.example.com/bi")) == {
            "base_url": ["This is the address of this site itself. Enter the BI's."]
        }

    def test_is_switched_on_once_it_has_address_and_key(self, admin_client: Client) -> None:
        admin_client.get(LIST)
        assert errors(save(admin_client, is_enabled="on")) == {
            "is_enabled": [
                "Enter the address of the BI first.",
                "Save without this tick, generate the key pair below, then switch it on.",
            ]
        }
        make_bi(is_enabled=False)

        assert save(admin_client, is_enabled="on").status_code == 302
        assert BiConnection.objects.get().is_enabled

    def test_a_phone_may_have_no_form_of_its_own(self, admin_client: Client, bi: BiConnection) -> None:
        assert save(admin_client, phone_page="").status_code == 302
        assert BiConnection.objects.get().phone_page == ""

    def test_somebody_else_s_change_meanwhile_is_not_overwritten(self, admin_client: Client, bi: BiConnection) -> None:
        sent = sent_form(admin_client, PAGE)
        BiConnection.objects.update(provider="Theirs")

        response = admin_client.post(PAGE, {**sent, "token_seconds": "30"})

        assert errors(response)
        assert BiConnection.objects.get().token_seconds == 60


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

    def test_one_that_is_there_stays_the_only_one(self, admin_client: Client, bi: BiConnection) -> None:
        DataSource.objects.create(name="BI", kind="guandata")
        save(admin_client, api_login="robot", new_api_password=PASSWORD, new_app_token=APP_TOKEN)
        assert [one.name for one in DataSource.objects.all()] == ["BI"]

    def test_its_name_is_counted_where_it_is_taken(self, admin_client: Client, bi: BiConnection) -> None:
        DataSource.objects.create(name="Guandata BI", kind="sql")
        save(admin_client, api_login="robot", new_api_password=PASSWORD, new_app_token=APP_TOKEN)
        assert DataSource.objects.get(kind="guandata").name == "Guandata BI (2)"

    @pytest.mark.parametrize("missing", ["api_login", "new_api_password", "new_app_token"])
    def test_without_one_of_them_there_is_none(self, admin_client: Client, bi: BiConnection, missing: str) -> None:
        sent = {"api_login": "robot", "new_api_password": PASSWORD, "new_app_token": APP_TOKEN}
        assert save(admin_client, **{**sent, missing: ""}).status_code == 302
        assert not DataSource.objects.exists()

    def test_what_no_test_looks_at_starts_none(self, admin_client: Client, bi: BiConnection) -> None:
        save(admin_client, desktop_home="/home")
        assert not Job.objects.exists()


class TestSecrets:
    def test_go_in_encrypted_and_never_come_out(self, admin_client: Client, bi: BiConnection) -> None:
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

    def test_an_empty_field_keeps_what_is_saved(self, admin_client: Client) -> None:
        make_bi(api_login="robot", api_password=PASSWORD, app_token=APP_TOKEN)

        assert save(admin_client, token_seconds="30").status_code == 302

        saved = BiConnection.objects.get()
        assert (saved.api_password, saved.app_token) == (PASSWORD, APP_TOKEN)

    def test_are_removed_by_their_ticks(self, admin_client: Client) -> None:
        make_bi(app_token=APP_TOKEN, proxy_url="http://proxy.example.com:8080")

        save(admin_client, remove_app_token="on", remove_proxy="on")

        saved = BiConnection.objects.get()
        assert (saved.app_token, saved.proxy_url) == ("", "")

    @pytest.mark.parametrize(
        "change", [{"base_url": "https://other.example.com"}, {"new_proxy_url": "http://proxy.example.com:8080"}]
    )
    def test_are_not_sent_another_way_unless_they_are_pasted_again(
        self, admin_client: Client, change: dict[str, str]
    ) -> None:
        make_bi(api_login="robot", api_password=PASSWORD, app_token=APP_TOKEN)

        assert set(errors(save(admin_client, **change))) == {"new_api_password", "new_app_token"}
        assert BiConnection.objects.get().base_url == BI
        assert save(admin_client, **change, new_api_password="again", new_app_token="again").status_code == 302

    def test_the_fields_for_them_are_empty_and_not_there_for_readers(self, admin_client: Client) -> None:
        make_bi(api_login="robot", api_password=PASSWORD)
        reader = client_of(with_role("reader", Role.READ_ONLY))

        assert admin_client.get(PAGE).context["adminform"].form["new_api_password"].value() is None
        assert "new_api_password" not in reader.get(PAGE).content.decode()


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
        assert "administrators of single companies choose" not in text_of(admin_client.get(PAGE))
        with_role("limited", Role.SYSTEM_ADMINISTRATOR, corp)

        assert "administrators of single companies choose" in text_of(admin_client.get(PAGE))
        make_bi(external_id_source="bi_login_id")
        assert "administrators of single companies choose" not in text_of(admin_client.get(PAGE))

    def test_what_wecom_decides_is_cautioned_about_where_a_directory_creates_people(
        self, admin_client: Client, bi: BiConnection, corp: Corp
    ) -> None:
        policy = DirectoryPolicy.objects.create(corp=corp, mode="link")
        Corp.objects.update(is_enabled=True)
        assert "A directory policy takes it from WeCom" not in text_of(admin_client.get(PAGE))

        DirectoryPolicy.objects.filter(pk=policy.pk).update(mode="create")

        assert "A directory policy takes it from WeCom" in text_of(admin_client.get(PAGE))
        make_bi(external_id_source="bi_login_id")
        assert "A directory policy takes it from WeCom" not in text_of(admin_client.get(PAGE))


class TestKey:
    def test_is_generated_and_its_public_half_shown_in_both_forms(self, admin_client: Client) -> None:
        admin_client.get(LIST)

        response = admin_client.post(f"{LIST}key/generate/", {"first": "1"})

        assert response.headers["Location"] == f"{PAGE}#key"
        saved = BiConnection.objects.get()
        key = guandata_sso.load(saved.private_key)
        page = admin_client.get(PAGE).content.decode()
        assert f'value="{guandata_sso.public_line(key)}"' in page
        assert guandata_sso.public_pem(key) in page
        assert "管理中心 → 系统集成 → 单点登录" in page
        assert LogEntry.objects.filter(change_message__contains="Key pair generated").count() == 1

    def test_the_first_of_two_stays(self, admin_client: Client, bi: BiConnection) -> None:
        admin_client.post(f"{LIST}key/generate/", {"first": "1"})

        assert BiConnection.objects.get().private_key == KEY

    def test_another_takes_its_place(self, admin_client: Client, bi: BiConnection) -> None:
        admin_client.post(f"{LIST}key/generate/")

        assert BiConnection.objects.get().private_key != KEY

    def test_that_exists_already_is_pasted(self, admin_client: Client, bi: BiConnection) -> None:
        own = guandata_sso.generate()

        response = admin_client.post(f"{LIST}key/paste/", {"private_key": own})

        assert response.headers["Location"] == f"{PAGE}#key"
        assert BiConnection.objects.get().private_key == own
        noted = AuditEntry.objects.get(model="integrations.biconnection", action=AuditEntry.Action.CHANGED)
        assert [change[0] for change in noted.changes] == ["private_key"]
        assert own.splitlines()[1] not in str(noted.changes)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (PUBLIC, "This is a public key"),
            ("nothing", "This is no private key"),
            ("-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----", "This is no private key"),
        ],
    )
    def test_that_is_none_is_explained_and_not_kept(
        self, admin_client: Client, bi: BiConnection, text: str, words: str
    ) -> None:
        response = admin_client.post(f"{LIST}key/paste/", {"private_key": text})

        assert words in text_of(response)
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
        response = admin_client.post(f"{LIST}enter/")

        assert response.status_code == 302
        assert claims_in(response.headers["Location"])["externalUserId"] == "root"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "no-store" in response.headers["Cache-Control"]
        assert "ssoToken" not in str(list(LogEntry.objects.values()))

    @pytest.mark.parametrize(
        ("broken", "words"),
        [
            ({"base_url": ""}, "The address of the BI is missing"),
            ({"key_saved_at": None}, "There is no key pair yet"),
            ({"private_key": "x"}, "The saved private key cannot be read"),
            ({"external_id_source": "email"}, "Your own user has no “e-mail” that is yours alone"),
            ({"external_id_source": "gone"}, "does not exist any more"),
        ],
    )
    def test_says_what_is_missing(self, admin_client: Client, broken: dict[str, Any], words: str) -> None:
        make_bi(**broken)

        response = admin_client.post(f"{LIST}enter/", follow=True)

        assert response.redirect_chain == [(f"{PAGE}#test", 302)]
        assert words in text_of(response)

    def test_the_page_may_send_its_form_there(self, admin_client: Client, bi: BiConnection) -> None:
        policy = admin_client.get(PAGE).headers["Content-Security-Policy"]

        assert BI in next(part for part in policy.split(";") if part.strip().startswith("form-action")).split()

    def test_not_by_a_link(self, admin_client: Client, bi: BiConnection) -> None:
        assert admin_client.get(f"{LIST}enter/").status_code == 405


class TestTesting:
    def test_runs_in_the_background_and_shows_what_was_found(self, admin_client: Client, bi: BiConnection) -> None:
        with responses.RequestsMock() as wire:
            wire.add(responses.GET, f"{BI}/", status=200)
            response = admin_client.post(f"{LIST}test/")
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

    def test_that_waits_too_long_says_that_no_worker_runs(self, admin_client: Client, bi: BiConnection) -> None:
        admin_client.post(f"{LIST}test/")
        Job.objects.update(due_at=timezone.now() - LONG_WAIT)

        state = admin_client.get(f"{LIST}state/").json()

        assert state["is_unfinished"] is True
        assert "No worker has answered" in state["html"]


class TestCompanies:
    """The fields of a company that concern the BI, and the builder of links."""

    def page(self, corp: Corp) -> str:
        return f"/admin/integrations/corp/{corp.pk}/change/"

    def saved(self, client: Client, corp: Corp, **changes: Any) -> Any:
        return client.post(self.page(corp), {**sent_form(client, self.page(corp)), **changes})

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("page/p1", "page/p1"),
            ("/page/p1?tab=2", "page/p1?tab=2"),
            (f"{BI}/page/p1?tab=2", "page/p1?tab=2"),
            (f"{BI}/", ""),
            (BI, ""),
            ("", ""),
            ("报表/七", "报表/七"),
        ],
    )
    def test_a_page_of_the_bi_is_kept_as_its_path(
        self, admin_client: Client, corp: Corp, typed: str, kept: str
    ) -> None:
        make_bi()

        assert self.saved(admin_client, corp, home_page="bi", home_bi_page=typed).status_code == 302

        corp.refresh_from_db()
        assert (corp.home_page, corp.home_bi_page) == ("bi", kept)

    @pytest.mark.parametrize(
        "typed",
        ["https://evil.example/page/p1", f"{BI}.evil.example/page", "page//p1", "a/../b", "a\\b", "page/p1#x",
         "page/%2e%2e/x", "a" * 641],
    )  # fmt: skip
    def test_what_is_no_page_of_the_bi_is_refused(self, admin_client: Client, corp: Corp, typed: str) -> None:
        make_bi()

        assert set(errors(self.saved(admin_client, corp, home_page="bi", home_bi_page=typed))) == {"home_bi_page"}

    def test_the_bi_is_no_home_page_before_it_is_connected(self, admin_client: Client, corp: Corp) -> None:
        assert set(errors(self.saved(admin_client, corp, home_page="bi"))) == {"home_page"}

    def test_a_bi_that_was_switched_off_later_keeps_nothing_from_being_saved(
        self, admin_client: Client, corp: Corp
    ) -> None:
        Corp.objects.filter(pk=corp.pk).update(home_page="bi")

        assert self.saved(admin_client, corp, name="新名字").status_code == 302

    @pytest.mark.parametrize(
        ("typed", "target", "is_in_bi"),
        [
            ("page/p1", "page/p1", True),
            (f"{BI}/page/p1?tab=2", "page/p1?tab=2", True),
            (f"{BI}/m/0123", "bi/m/0123", True),
            (BI, "bi/", True),
            ("admin/", "admin/", False),
            ("bi/page/p1", "bi/page/p1", True),
        ],
    )
    def test_the_builder_takes_addresses_of_the_bi_and_says_where_a_link_leads(
        self, admin_client: Client, corp: Corp, typed: str, target: str, is_in_bi: bool
    ) -> None:
        make_bi()

        response = admin_client.get(f"/admin/integrations/corp/{corp.pk}/link/", {"page": "other", "path": typed})

        assert response.context["link"]["target"] == target
        assert ("a page of the BI" in text_of(response)) is is_in_bi

    def test_the_builder_offers_the_bi_s_first_page_while_it_is_connected(
        self, admin_client: Client, corp: Corp
    ) -> None:
        address = f"/admin/integrations/corp/{corp.pk}/link/"
        assert "bi/" not in [one[0] for one in admin_client.get(address).context["link"]["choices"]]
        make_bi()

        assert "bi/" in [one[0] for one in admin_client.get(address).context["link"]["choices"]]

    def test_without_sign_in_a_link_names_our_address_of_the_page(self, admin_client: Client, corp: Corp) -> None:
        make_bi()
        Corp.objects.filter(pk=corp.pk).update(sign_in_enabled=False)

        response = admin_client.get(f"/admin/integrations/corp/{corp.pk}/link/", {"page": "other", "path": "page/p1"})

        assert response.context["link"]["url"] == "http://localhost:3001/bi/page/p1"


def test_a_test_enters_the_audit_trail_as_done(admin_client: Client, bi: BiConnection) -> None:
    admin_client.post(f"{LIST}enter/")

    assert AuditEntry.objects.filter(note__contains="Test sign-in").count() == 1
