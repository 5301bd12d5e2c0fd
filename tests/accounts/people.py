"""Administrators of every kind, and values of the admin's form of a person."""

from typing import Any

from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from accounts.users.roles import Role
from integrations.models import Corp
from tests.browser_form import read_fields
from tests.rows import join, put

HOST = "bi.example.com"
LIST = "/admin/accounts/user/"


def with_role(username: str, role: Role | None, *corps: Corp, **values: Any) -> User:
    """Make somebody who may enter the administration, in a role, for all companies or for some."""
    user = put(User(username=username, is_staff=True, manages_all_corps=not corps, **values))
    join(user, "managed_corps", corps)
    if role is not None:
        join(user, "groups", [Group.objects.get(name=role)])
    return user


def signed_in(user: User) -> Client:
    client = Client(headers={"host": HOST}, SERVER_NAME=HOST)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def sent_form(client: Client, path: str) -> dict[str, Any]:
    """Return what a browser would send of an untouched page of the admin."""
    values = {field.html_name: field.value() for field in read_fields(client, path)}
    return {name: _plain(value) for name, value in values.items() if value is not None and value is not False}


def _plain(value: Any) -> Any:
    return [getattr(item, "pk", item) for item in value] if isinstance(value, list | tuple) else value
