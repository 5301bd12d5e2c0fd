"""Administrators who upload files, and the attributes in the files."""

from __future__ import annotations

import pytest

from accounts.models import Attribute, User
from accounts.users.roles import Role
from integrations.models import Corp
from tests.accounts.people import with_role


@pytest.fixture
def editor(db: None) -> User:
    return with_role("editor", Role.SYSTEM_ADMINISTRATOR)


@pytest.fixture
def limited(corp: Corp) -> User:
    return with_role("limited", Role.SYSTEM_ADMINISTRATOR, corp)


@pytest.fixture
def login(db: None) -> Attribute:
    return Attribute.objects.bi_login_ids().get()


@pytest.fixture
def number(db: None) -> Attribute:
    return Attribute.objects.create(
        key="employee_number", name="工号", position=20, is_unique=True, is_employee_number=True
    )


@pytest.fixture
def region(db: None) -> Attribute:
    return Attribute.objects.create(
        key="region", name="区域", kind="choice", choices=["华东", "华北"], is_many_valued=True, position=30
    )
