"""A person's identity in the BI, and whether they may enter it. The way in is integrations.bi."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import SESSION_KEY
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.authentication import sessions
from accounts.models import Attribute, DirectoryPolicy, WeComAccount, barred_by_wecom
from accounts.users import bi_accounts, limited_administrators
from accounts.users.attributes import bi_login_ids_of
from accounts.users.bi_identity_sources import EMAIL, LOGIN_ID, USERNAME
from accounts.users.scopes import sees_all
from integrations import bi
from integrations.core.hooks import Attention, ExternalId, external_id_of
from integrations.models import Corp
from integrations.models.datasources import THE_ONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest


def external_ids() -> list[ExternalId]:
    """What can be somebody's account in the BI. The attribute is offered while one is marked for it."""
    found = [
        ExternalId(
            USERNAME,
            _("user name"),
            _(
                "It is the name with which you sign in here. One that was made with a number, because somebody else "
                "had yours, does not count: an administrator can give you another."
            ),
            bi_accounts.usernames,
            _caution_of_wecom,
            limited_administrators.objection_to_names,
        ),
        ExternalId(
            EMAIL,
            _("e-mail"),
            _("An administrator sets it on your user's page. It must be yours alone."),
            bi_accounts.emails,
            objection=_objection_to_email,
        ),
    ]
    attribute = Attribute.objects.bi_login_ids().first()
    if attribute is not None:
        where = _("An administrator of all companies sets it on your user's page, or for many people at once.")
        found.append(ExternalId(LOGIN_ID, attribute.name, where, bi_login_ids_of))
    return found


def corp_of_entry(request: HttpRequest) -> Corp | None:
    """The company through which the person may enter the BI: the session's, or one of theirs after a password."""
    open_corps = bi_accounts.open_corps()
    corp_id = request.session.get(sessions.CORP_KEY)
    if corp_id is not None:
        return open_corps.filter(pk=corp_id).first()
    accounts = WeComAccount.objects.complete().filter(~barred_by_wecom(), user=request.session[SESSION_KEY])
    return open_corps.filter(pk__in=accounts.values("corp_id")).order_by("pk").first()


def is_entered_by_login_id() -> bool:
    """Whether people enter the BI by the attribute that is marked as its loginId."""
    return bi.is_open() and bi.connection().external_id_source == LOGIN_ID


def _caution_of_wecom() -> str:
    """Where a directory brings user names: WeCom's administrators give them."""
    if not DirectoryPolicy.objects.in_force().filter(mode=DirectoryPolicy.Mode.CREATE).exists():
        return ""
    return gettext(
        "A directory policy takes it from WeCom, whose administrators so decide as whom people enter the BI. Choose "
        "the loginId attribute, which only administrators of all companies set."
    )


def _objection_to_email() -> str:
    """WeCom lets people change their own e-mail, and a directory policy that updates people takes it over."""
    if found := limited_administrators.objection_to_names():
        return found
    if not DirectoryPolicy.objects.filter(mode=DirectoryPolicy.Mode.CREATE).exists():
        return ""
    return gettext(
        "People must not enter the BI by an e-mail address that they choose: a directory policy takes it from WeCom, "
        "where they may change it. Choose the loginId attribute, which only administrators of all companies set, or "
        "let the policy only link people."
    )


def attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Of a connection that goes on with what could not be chosen any more, to those who may do something about it."""
    if not (sees_all(request.user) and request.user.has_perm("integrations.view_biconnection")):
        return []
    connection = bi.connection()
    source = external_id_of(connection.external_id_source) if connection.is_enabled else None
    objection = source.objection() if source is not None else ""
    return (
        [Attention(objection, reverse("admin:integrations_biconnection_change", args=[THE_ONE]))] if objection else []
    )
