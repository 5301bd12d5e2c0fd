"""Settings that are valid alone and cannot work together, and commands for operators of the site."""

import io
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core import checks
from django.core.management import CommandError, call_command
from pytest_django import Settings

from integrations.admin.companies import SiteAddressForm
from integrations.core import http
from integrations.models import SiteAddress


def ids() -> set[str | None]:
    return {message.id for message in checks.run_checks() if str(message.id).startswith("integrations.")}


def test_the_usual_settings_pass() -> None:
    assert ids() == set()


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"ENVIRONMENT": "production"}, set()),
        ({"DATA_SQL_DRIVERS": ["mysql+pymysql"]}, set()),
        ({"DATA_SQL_DRIVERS": ["mysql+pymysql", "oracle+no_such_driver"]}, {"integrations.E007"}),
        ({"DATA_SQL_DRIVERS": ["no_such_database"]}, {"integrations.E007"}),
        ({"DATA_SQL_DRIVERS": ["mssql+pymssql"]}, {"integrations.E007"}),  # known, but not installed
        ({"MAIL_DOOR_LISTEN": ("0.0.0.0", 25)}, {"integrations.E011"}),  # noqa: S104  # where nobody could sign in
        ({"MAIL_DOOR_LISTEN": ("::", 25), "MAIL_DOOR_PLAIN_SIGN_IN": True}, set()),
        ({"MAIL_DOOR_LISTEN": ("::", 25), "MAIL_DOOR_CERTIFICATE": "/c.pem", "MAIL_DOOR_KEY": "/c.key"}, set()),
        ({"MAIL_DOOR_LISTEN": ("::1", 25)}, set()),
        ({"MAIL_DOOR_KEY": "/c.key"}, {"integrations.E009"}),
        ({"MAIL_DOOR_TLS_FROM_START": True}, {"integrations.E010"}),
    ],
)
def test_a_combination_is_found(settings: Settings, changed: dict[str, Any], found: set[str]) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)

    assert ids() == found


@pytest.mark.django_db
class TestHostCookies:
    """The switch of cookies with the prefix __Host-, which browsers drop over http."""

    @pytest.fixture(autouse=True)
    def _on(self, settings: Settings) -> None:
        settings.HOST_COOKIES = True

    def test_are_refused_where_an_address_is_without_https(self) -> None:
        SiteAddress.objects.update_or_create(is_default=True, defaults={"url": "https://bi.example.com/"})
        assert ids() == set()
        SiteAddress.objects.create(url="http://intern.example.com/")

        found = [message.msg for message in checks.run_checks() if message.id == "integrations.E008"]

        assert found == ["HOST_COOKIES is on, and the site address http://intern.example.com/ is not https."]

    def test_three_of_many_addresses_are_named(self) -> None:
        for number in range(4):
            SiteAddress.objects.create(url=f"http://{number}.example.com/")

        found = [message.msg for message in checks.run_checks() if message.id == "integrations.E008"]

        assert [text.split()[-4] for text in found] == [f"http://{number}.example.com/" for number in range(3)]

    @pytest.mark.parametrize(
        ("url", "found"), [("https://bi.example.com/", ["integrations.W004"]), ("http://bi.example.com/", [])]
    )
    def test_are_advised_where_every_address_is_https(self, settings: Settings, url: str, found: list[str]) -> None:
        settings.HOST_COOKIES, settings.ENVIRONMENT = False, "production"
        SiteAddress.objects.update_or_create(is_default=True, defaults={"url": url})

        messages = checks.run_checks(tags=[checks.Tags.database], databases=["default"])

        assert [message.id for message in messages if message.id == "integrations.W004"] == found

    def test_let_no_address_without_https_be_saved(self) -> None:
        form = SiteAddressForm({"url": "http://intern.example.com/"})
        assert [error.code for error in form.errors.as_data()["url"]] == ["https"]

        with pytest.raises(CommandError, match="HOST_COOKIES"):
            call_command("site_address", "http://intern.example.com/", skip_checks=True)

        assert not SiteAddress.objects.filter(url="http://intern.example.com/").exists()


def output_of(*command: str) -> str:
    out = io.StringIO()
    call_command(*command, stdout=out)
    return out.getvalue().strip()


def test_a_generated_key_encrypts() -> None:
    first, second = output_of("generate_key"), output_of("generate_key")

    assert Fernet(first).decrypt(Fernet(first).encrypt(b"x")) == b"x"
    assert first != second


@pytest.mark.django_db
def test_the_site_address_is_set_in_its_canonical_form_and_admitted_at_once() -> None:
    assert output_of("site_address") == "http://localhost:3001/"
    assert http.find_saved_scheme("localhost:3001")

    assert output_of("site_address", "HTTPS://BI.example.com") == "https://bi.example.com/"

    assert SiteAddress.objects.default().url == "https://bi.example.com/"
    assert http.find_saved_scheme("bi.example.com") == "https"
    assert http.find_saved_scheme("localhost:3001") is None


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["bi.example.com", "https://203.0.113.9/", "https://other.example.com/"])
def test_a_wrong_site_address_or_that_of_another_row_is_refused(url: str) -> None:
    SiteAddress.objects.create(url="https://other.example.com/")

    with pytest.raises(CommandError):
        output_of("site_address", url)

    assert SiteAddress.objects.default().url == "http://localhost:3001/"
