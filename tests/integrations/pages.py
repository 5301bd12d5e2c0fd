"""Readers of a page of the administration, people who open it, and the version that they save it with."""

import re
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from accounts.users.roles import Role
from tests.browser_form import skip_drawing
from tests.integrations.conftest import client_of


def text_of(response: Any) -> str:
    """Return what a person reads: without tags, entities resolved as far as these tests need."""
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", text.replace("&#x27;", "'").replace("&amp;", "&"))


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200, response.status_code
    return {name: list(errors) for name, errors in response.context["adminform"].form.errors.items()}


def disabled_fields(response: Any) -> set[str]:
    return set(re.findall(r'name="(\w+)"[^>]* disabled', response.content.decode()))


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def in_role(role: Role) -> Client:
    person = User.objects.create_user("somebody", is_staff=True, manages_all_corps=True)
    person.groups.add(Group.objects.get(name=role))
    return client_of(person)


def version_on(client: Client, url: str) -> str:
    """Return the hidden version of a page, or "" if it has no form to save."""
    with skip_drawing():
        form = (getattr(client.get(url), "context_data", None) or {}).get("adminform")
    return form.form["page_version"].value() if form is not None and "page_version" in form.form.fields else ""
