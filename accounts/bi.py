"""People in the BI: as whom they enter it, and who may. The way in itself is integrations.bi."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import SESSION_KEY
from django.db.models.functions import Lower
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import sessions
from accounts.attribute_values import bi_login_id_of
from accounts.models import Attribute, DirectoryPolicy, User, WeComAccount, barred_by_wecom
from accounts.navigation import HomeEntry
from integrations.bi import entry
from integrations.bi.external_ids import ExternalId
from integrations.models import Corp

if TYPE_CHECKING:
    from django.http import HttpRequest

    from integrations.visibility import Person

USERNAME, EMAIL, LOGIN_ID = "username", "email", "bi_login_id"


def external_ids() -> list[ExternalId]:
    """What can be somebody's account in the BI. The attribute is offered while one is marked for it."""
    found = [
        ExternalId(USERNAME, _("user name"), _("It is the name with which you sign in here."), _username, _caution),
        ExternalId(
            EMAIL,
            _("e-mail"),
            _("An administrator sets it on your user's page. It must be yours alone."),
            _email,
            _caution,
        ),
    ]
    attribute = Attribute.objects.bi_login_ids().first()
    if attribute is not None:
        where = _("An administrator of all companies sets it on your user's page, or for many people at once.")
        found.append(ExternalId(LOGIN_ID, attribute.name, where, _login_id))
    return found


def corp_of_entry(request: HttpRequest) -> Corp | None:
    """The company through which the person may enter the BI: the session's, or one of theirs after a password."""
    open_corps = Corp.objects.enabled().filter(bi_sign_in_enabled=True)
    corp_id = request.session.get(sessions.CORP_KEY)
    if corp_id is not None:
        return open_corps.filter(pk=corp_id).first()
    accounts = WeComAccount.objects.complete().filter(~barred_by_wecom(), user=request.session[SESSION_KEY])
    return open_corps.filter(pk__in=accounts.values("corp_id")).order_by("pk").first()


def home_entries(request: HttpRequest) -> list[HomeEntry]:
    """The button into the BI, for somebody who may enter it from here."""
    if not entry.is_open() or corp_of_entry(request) is None:
        return []
    return [
        HomeEntry(gettext("Open the BI"), entry.ROOT, gettext("Dashboards and reports in Guandata, signed in at once"))
    ]


def is_entered_by_login_id() -> bool:
    """Whether people enter the BI by the attribute that is marked as its loginId."""
    return entry.is_open() and entry.connection().external_id_source == LOGIN_ID


def _username(person: Person) -> str:
    """Why not one that somebody else spells in upper case? Two names here can be one account in the BI."""
    others = User.objects.alias(folded=Lower("username")).filter(folded=person.get_username().lower())
    return "" if others.exclude(username=person.get_username()).exists() else person.get_username()


def _email(person: Person) -> str:
    """Why not a shared one? The BI could not tell its people apart, and would let one in as the other."""
    if not isinstance(person, User) or not person.email:
        return ""
    others = User.objects.exclude(email="").alias(folded=Lower("email")).filter(folded=person.email.lower())
    return "" if others.exclude(pk=person.pk).exists() else person.email


def _login_id(person: Person) -> str:
    return bi_login_id_of(user_id=person.pk) if person.pk is not None else ""


def _caution() -> str:
    """Where others than administrators of all companies decide it, in whole sentences."""
    return " ".join(said for said in (_caution_of_limited(), _caution_of_wecom()) if said)


def _caution_of_wecom() -> str:
    """Where a directory writes it: WeCom lets people change their own e-mail."""
    if not DirectoryPolicy.objects.in_force().filter(mode=DirectoryPolicy.Mode.CREATE).exists():
        return ""
    return gettext(
        "A directory policy takes it from WeCom: its administrators give the account, and people may change their "
        "e-mail there themselves, and so decide as whom they enter the BI. Choose the loginId attribute, which only "
        "administrators of all companies set."
    )


def _caution_of_limited() -> str:
    """Where some administrators see their own companies only."""
    limited = User.objects.filter(is_active=True, is_staff=True, is_superuser=False, manages_all_corps=False)
    if not limited.exists():
        return ""
    return gettext(
        "Administrators of single companies set it for their people, and so decide as whom these enter the BI. You "
        "have such administrators: choose the loginId attribute, which only administrators of all companies set."
    )
