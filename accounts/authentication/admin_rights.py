"""Decides from the way a session was opened whether it carries its person's administration rights.

Whoever controls a company's app, its console or its directory in WeCom decides who WeCom says somebody is. A sign-in
with WeCom must therefore not carry rights that reach beyond that company, unless a superuser allowed it for this one
(Corp.admin_rights_enabled). Such a session is an employee's until its person has given a password, or a code
of an authenticator app that WeCom alone cannot have set up.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from accounts.models import User

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest

    from integrations.models import Corp

# In the session. Absent in sessions from before it was written down.
METHOD_KEY = "sign_in_method"


class SignInMethod(StrEnum):
    PASSWORD = "password"  # noqa: S105  # a way in, not a secret
    WECOM_QR = "wecom-qr"
    WECOM_SILENT = "wecom-silent"
    WECOM_AND_CODE = "wecom-and-code"  # with a code of the authenticator app in place of a password


def note_method(session: SessionBase, method: SignInMethod) -> None:
    """After login(): by which way this session was opened, or opened again."""
    session[METHOD_KEY] = method.value


def method_of(session: SessionBase) -> SignInMethod | None:
    noted = session.get(METHOD_KEY)
    return SignInMethod(noted) if noted is not None else None


def admin_rights_allowed(request: HttpRequest) -> bool:
    """Whether this session carries whatever rights its person has."""
    return not (isinstance(request.user, User) and request.user.has_withheld_rights)


def carries_rights(person: User, *, corp: Corp) -> bool:
    """Whether a sign-in with WeCom through `corp` carries whatever rights `person` has."""
    return corp.admin_rights_enabled or not reaches_beyond(person, corp_id=corp.pk)


def reaches_beyond(person: User, *, corp_id: int) -> bool:
    """Whether `person` has rights that are not limited to this company. One query at most, none for employees."""
    if person.is_superuser or person.manages_all_corps:
        return True
    return person.is_staff and person.managed_corps.exclude(pk=corp_id).exists()
