"""Commands for operators of the site."""

from __future__ import annotations

import io

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from integrations.core import http
from integrations.models import SiteAddress


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
    assert http.is_admitted("localhost:3001")

    assert output_of("site_address", "HTTPS://BI.example.com") == "https://bi.example.com/"

    assert SiteAddress.objects.default().url == "https://bi.example.com/"
    assert http.scheme_of_saved("bi.example.com") == "https"
    assert http.scheme_of_saved("localhost:3001") is None


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["bi.example.com", "https://203.0.113.9/", "https://other.example.com/"])
def test_a_wrong_site_address_or_that_of_another_row_is_refused(url: str) -> None:
    SiteAddress.objects.create(url="https://other.example.com/")

    with pytest.raises(CommandError):
        output_of("site_address", url)

    assert SiteAddress.objects.default().url == "http://localhost:3001/"
