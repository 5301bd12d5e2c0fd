"""The list of problems above a form that cannot be saved, with a link to each field."""

import re

import pytest
from django.test import Client

from accounts.models import User
from integrations.models import Corp

pytestmark = pytest.mark.django_db


def problems(page: str) -> list[str]:
    """Return the HTML of each entry of the list above the form."""
    lists = re.findall(r'<div class="errornote" role="alert" tabindex="-1" autofocus>(.*?)</div>', page, re.DOTALL)
    assert len(lists) == 1
    return re.findall(r"<li>(.*?)</li>", lists[0])


def test_each_field_that_is_wrong_is_named_and_linked_and_keeps_what_was_typed(admin_client: Client) -> None:
    servers = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), "https://wecom.example.com")
    typed = {"name": "北山制造", "corpid": "ww0123456789abcdef", "agentid": "twelve", **servers}

    page = admin_client.post("/admin/integrations/corp/add/", typed, headers={"Accept-Language": "en"}).text

    assert problems(page) == [
        '<a href="#id_agentid">AgentId</a>: Write a whole number, such as 1000002.',
        '<a href="#id_new_secret">Secret</a>: This field is required.',
    ]
    assert 'value="北山制造"' in page
    assert "Please correct" not in page
    assert "data-model-name" not in page  # Django's script would put the focus elsewhere
    assert not Corp.objects.exists()


def test_what_is_about_the_whole_form_stands_first(admin_client: Client, admin_user: User) -> None:
    page = admin_client.post(
        f"/admin/accounts/user/{admin_user.pk}/change/", {}, headers={"Accept-Language": "en"}
    ).text

    assert problems(page) == [
        "Somebody else saved this after you had opened the page. What you typed is kept below and not saved yet. "
        'Save once more to overwrite what is saved now. <a href="">Show what is saved now, without my changes</a>',
        '<a href="#id_username">Username</a>: This field is required.',
    ]


def test_a_form_that_is_opened_lists_nothing(admin_client: Client) -> None:
    assert "autofocus" not in admin_client.get("/admin/integrations/corp/add/").text
