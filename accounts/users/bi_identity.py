"""Finds the accounts under which people enter the BI, and who may enter it. integrations.bi signs them in."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.authentication import sessions
from accounts.models import Attribute, AttributeValue, DirectoryPolicy, User, WeComAccount, barred_by_wecom
from accounts.users.roles import sees_all
from integrations import bi
from integrations.core.hooks import Attention, ExternalId, find_external_id_by_key
from integrations.models import BiConnection, Corp
from integrations.models.installation import SINGLETON_PK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from django.http import HttpRequest


# Values of BiConnection.external_id_source.
USERNAME, EMAIL, LOGIN_ID = "username", "email", "bi_login_id"


def is_bi_identity_source(*sources: str) -> bool:
    """Return whether people enter the BI by one of `sources`. Locks the connection's row until the caller's transaction
    ends, so that nobody chooses another source meanwhile."""
    rows = BiConnection.objects.select_for_update().filter(pk=SINGLETON_PK, is_enabled=True)
    with transaction.atomic():
        return rows.values_list("external_id_source", flat=True).first() in sources


def list_external_ids() -> list[ExternalId]:
    """List the values by which people can enter the BI: username, e-mail, and the attribute marked as loginId, if
    any."""
    sources = [
        ExternalId(
            USERNAME,
            _("user name"),
            _(
                "It is the name with which you sign in here. A name to which this site added a number, because yours "
                "was taken, does not count: an administrator can give you another one."
            ),
            partial(find_unshared_values, USERNAME),
            caution=_warn_about_wecom,
            objection=explain_objection_to_names,
        ),
        ExternalId(
            EMAIL,
            _("e-mail"),
            _("An administrator sets it on your page in the administration. It must be yours alone."),
            partial(find_unshared_values, EMAIL),
            objection=_explain_objection_to_email,
        ),
    ]
    attribute = Attribute.objects.bi_login_ids().first()
    if attribute is not None:
        where = _("An administrator of all companies sets it on your page, or for many people at once.")
        rows = AttributeValue.objects.filter(attribute__is_bi_login_id=True).order_by("-pk")
        sources.append(
            ExternalId(
                LOGIN_ID,
                attribute.name,
                where,
                lambda user_ids: dict(rows.filter(user__in=user_ids).values_list("user_id", "value")),
            )
        )
    return sources


def find_entry_company(request: HttpRequest) -> Corp | None:
    """Return the company through which the person enters the BI: the company of the session, or after a sign-in by
    password one of the person's companies."""
    corps = find_bi_corps()
    corp_id = request.session.get(sessions.CORP_KEY)
    if corp_id is not None:
        return corps.filter(pk=corp_id).first()
    accounts = WeComAccount.objects.complete().filter(~barred_by_wecom(), user=request.session[SESSION_KEY])
    return corps.filter(pk__in=accounts.values("corp_id")).order_by("pk").first()


def _warn_about_wecom() -> str:
    """Warn if a directory policy creates users: WeCom's administrators then choose the user names."""
    if not DirectoryPolicy.objects.in_force().filter(mode=DirectoryPolicy.Mode.CREATE).exists():
        return ""
    return gettext(
        "A directory policy takes it from WeCom, so WeCom's administrators decide with which BI account people enter. "
        "Choose the loginId attribute, which only administrators of all companies set."
    )


def _explain_objection_to_email() -> str:
    """Explain why people must not enter the BI by e-mail; empty if they may. People can change their own e-mail in
    WeCom, and a directory policy that updates people copies it."""
    if objection := explain_objection_to_names():
        return objection
    if not DirectoryPolicy.objects.filter(mode=DirectoryPolicy.Mode.CREATE).exists():
        return ""
    return gettext(
        "People must not enter the BI by an e-mail address that they choose: a directory policy takes it from WeCom, "
        "where they may change it. Choose the loginId attribute, which only administrators of all companies set, or "
        "let the policy only link people."
    )


def list_identity_attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Warn administrators who see the BI connection that people must not enter by the chosen value any more."""
    if not (sees_all(request.user) and request.user.has_perm("integrations.view_biconnection")):
        return []
    connection = bi.load_connection()
    source = find_external_id_by_key(connection.external_id_source) if connection.is_enabled else None
    url = reverse("admin:integrations_biconnection_change", args=[SINGLETON_PK])
    return [Attention(objection, url)] if source is not None and (objection := source.objection()) else []


def find_identities(user_ids: Collection[int]) -> dict[int, str]:
    """Map people's keys to their BI accounts; people who may not enter are left out. A fixed number of queries."""
    source = find_external_id_by_key(bi.load_connection().external_id_source)
    if source is None:
        return {}
    accounts = WeComAccount.objects.complete().filter(
        ~barred_by_wecom(), corp__in=find_bi_corps(), user__is_active=True
    )
    may_enter = set(accounts.filter(user__in=user_ids).values_list("user_id", flat=True))
    return {pk: found for pk, found in source.find_values(may_enter).items() if found}


def find_bi_corps() -> QuerySet[Corp]:
    """Return the enabled companies whose people may enter the BI."""
    return Corp.objects.enabled().filter(bi_sign_in_enabled=True)


def find_unshared_values(field: str, user_ids: Collection[int]) -> dict[int, str]:
    """Map people's keys to their user names or e-mail addresses (`field`), if these are safe as BI accounts.

    Two kinds of values are unsafe: values equal to another person's when capitals are ignored, which can be one account
    in the BI; and user names that the directory has made (accounts.directory.linking), which can be another person's
    account in the BI.
    """
    people = User.objects.filter(pk__in=user_ids).exclude(**{field: ""}).only(field, "made_username")
    values = {one.pk: getattr(one, field) for one in people if field != USERNAME or not one.has_made_username}
    rows = User.objects.annotate(folded=Lower(field)).filter(folded__in={value.lower() for value in values.values()})
    holders: dict[str, set[int]] = defaultdict(set)
    for pk, folded in rows.values_list("pk", "folded"):
        holders[folded].add(pk)
    return {pk: value for pk, value in values.items() if not holders[value.lower()] - {pk}}


# Number of people that a sentence names.
_NAMED_AT_MOST = 3


def find_naming_permissions() -> QuerySet[Permission]:
    """Return the permissions to create people and to change their user names and e-mail addresses."""
    return Permission.objects.filter(content_type__app_label="accounts", codename__in=("add_user", "change_user"))


def find_limited_administrators() -> QuerySet[User]:
    """Return administrators who do not see all companies."""
    return User.objects.filter(is_active=True, is_staff=True, is_superuser=False, manages_all_corps=False)


def find_administrators_who_name_people() -> QuerySet[User]:
    """Return limited administrators who may create or rename people."""
    naming = find_naming_permissions().values("pk")
    groups = Group.objects.filter(permissions__in=naming)
    return find_limited_administrators().filter(Q(groups__in=groups) | Q(user_permissions__in=naming)).distinct()


def explain_objection_to_names() -> str:
    """Explain that limited administrators may choose people's names, so people must not enter the BI by them; empty if
    no such administrator may."""
    administrators = list(find_administrators_who_name_people().order_by("username")[: _NAMED_AT_MOST + 1])
    if not administrators:
        return ""
    sentence = gettext(
        "People must not enter the BI by a name that administrators of single companies choose, and these may create "
        "or rename people: %(people)s. Choose the loginId attribute, which only administrators of all companies set, "
        "or take this right from them first."
    )
    names = ", ".join(map(str, administrators[:_NAMED_AT_MOST]))
    return sentence % {"people": names if len(administrators) <= _NAMED_AT_MOST else f"{names} …"}


# --- Granting the right to create or rename people --------------------------------------------------------------------


def explain_objection_to_rights(person: User, values: dict[str, Any]) -> str:
    """Explain why `person` must not get the rights in `values`, the changes of a form; empty if there is no objection.
    People keep such rights if they have them already. Call it in the transaction that saves the rights."""
    flags = ("is_active", "is_staff", "is_superuser", "manages_all_corps")
    active, staff, superuser, manages_all = (values.get(name, getattr(person, name)) for name in flags)
    if not (active and staff) or superuser or manages_all:
        return ""
    is_saved = person.pk is not None
    groups = values.get("groups", person.groups.all() if is_saved else [])
    permissions = values.get("user_permissions", person.user_permissions.all() if is_saved else [])
    granted = Q(group__in=[group.pk for group in groups]) | Q(pk__in=[permission.pk for permission in permissions])
    if not find_naming_permissions().filter(granted).exists():
        return ""
    if is_saved and find_administrators_who_name_people().filter(pk=person.pk).exists():
        return ""
    return _explain_refusal() if is_bi_identity_source(USERNAME, EMAIL) else ""


def explain_objection_to_permissions(group: Group, permissions: Iterable[Permission]) -> str:
    """Explain why `group` must not get `permissions`, because limited administrators are in it; empty if there is no
    objection. See explain_objection_to_rights."""
    chosen = [permission.pk for permission in permissions]
    if group.pk is None or not find_naming_permissions().filter(pk__in=chosen).exists():
        return ""
    new_holders = (
        find_limited_administrators()
        .filter(groups=group)
        .exclude(pk__in=find_administrators_who_name_people().values("pk"))
    )
    return _explain_refusal() if new_holders.exists() and is_bi_identity_source(USERNAME, EMAIL) else ""


def _explain_refusal() -> str:
    return gettext(
        "People enter the BI by their user name or e-mail, so nobody who is limited to single companies may create or "
        "rename people: they could enter it as somebody else. First choose the loginId attribute, under Guandata BI, "
        "or leave this right out."
    )
