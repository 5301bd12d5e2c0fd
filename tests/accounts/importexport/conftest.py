"""Administrators who upload files, and the attributes in the files."""

from __future__ import annotations

import pytest

from accounts.models import User
from accounts.users.roles import Role
from tests.accounts.people import with_role


@pytest.fixture
def editor(db: None) -> User:
    return with_role("editor", Role.SYSTEM_ADMINISTRATOR)
