"""The user attribute that is there from the start: the person's loginId in the BI."""

from __future__ import annotations

from typing import Any

from django.apps import apps as installed_apps
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q

KEY, NAME = "bi_login_id", "BI loginId"


def ensure_bi_login_id(*, apps: Any = installed_apps, using: str = DEFAULT_DB_ALIAS, **_signal: Any) -> None:
    """Create it after migrations where no attribute is marked as the loginId; another one that is stays the one."""
    try:
        attributes = apps.get_model("accounts", "Attribute")._base_manager.using(using)
    except LookupError:  # migrated back to before there were attributes
        return
    if not attributes.filter(Q(is_bi_login_id=True) | Q(key=KEY) | Q(name=NAME)).exists():
        attributes.create(key=KEY, name=NAME, is_unique=True, is_bi_login_id=True, position=10)
