"""People's identities in the BI, and whether they may enter it. integrations.bi signs them in."""

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
from integrations.models.datasources import THE_ONE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from django.http import HttpRequest


# Values of BiConnection.external_id_source.
USERNAME, EMAIL, LOGIN_ID = "username", "email", "bi_login_id"


def is_identity(*sources: str) -> bool:
    """Return whether people enter the BI by one of `sources`. Locks the connection until the caller's transaction ends,
    so that nobody chooses another source meanwhile."""
    rows = BiConnection.objects.select_for_update().filter(pk=THE_ONE, is_enabled=True)
    with transaction.atomic():
        return rows.values_list("external_id_source", flat=True).first() in sources


def list_external_ids() -> list[ExternalId]:
    """Return the sources of BI accounts. The attribute is offered while one is marked as the loginId."""
    found = [
        ExternalId(
            USERNAME,
            _("user name"),
            _(
                "It is the name with which you sign in here. One that was made with a number, because somebody else "
                "had yours, does not count: an administrator can give you another."
            ),
            partial(find_unshared, USERNAME),
            _warn_about_wecom,
            explain_objection_to_names,
        ),
        ExternalId(
            EMAIL,
            _("e-mail"),
            _("An administrator sets it on your user's page. It must be yours alone."),
            partial(find_unshared, EMAIL),
            objection=_explain_objection_to_email,
        ),
    ]
    attribute = Attribute.objects.bi_login_ids().first()
    if attribute is not None:
        where = _("An administrator of all companies sets it on your user's page, or for many people at once.")
        rows = AttributeValue.objects.filter(attribute__is_bi_login_id=True).order_by("-pk")
        found.append(
            ExternalId(
                LOGIN_ID,
                attribute.name,
                where,
                lambda user_ids: dict(rows.filter(user__in=user_ids).values_list("user_id", "value")),
            )
        )
    return found


def find_entry_company(request: HttpRequest) -> Corp | None:
    """Return the company through which the person enters the BI: the session's, or one of the person's after a
    password."""
    corps = find_open_corps()
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
        "A directory policy takes it from WeCom, whose administrators thus decide with which BI account people enter. "
        "Choose the loginId attribute, which only administrators of all companies set."
    )


def _explain_objection_to_email() -> str:
    """Explain why e-mail may not be used, or return an empty text. WeCom lets people change their own e-mail, and a
    directory policy that updates people copies it."""
    if found := explain_objection_to_names():
        return found
    if not DirectoryPolicy.objects.filter(mode=DirectoryPolicy.Mode.CREATE).exists():
        return ""
    return gettext(
        "People must not enter the BI by an e-mail address that they choose: a directory policy takes it from WeCom, "
        "where they may change it. Choose the loginId attribute, which only administrators of all companies set, or "
        "let the policy only link people."
    )


def identity_attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Warn administrators who may change the BI connection that its identity source is no longer offered."""
    if not (sees_all(request.user) and request.user.has_perm("integrations.view_biconnection")):
        return []
    connection = bi.load_connection()
    source = find_external_id_by_key(connection.external_id_source) if connection.is_enabled else None
    url = reverse("admin:integrations_biconnection_change", args=[THE_ONE])
    return [Attention(objection, url)] if source is not None and (objection := source.objection()) else []


def find_identities(user_ids: Collection[int]) -> dict[int, str]:
    """Map people's keys to their BI accounts; people who may not enter are left out. A fixed number of queries."""
    source = find_external_id_by_key(bi.load_connection().external_id_source)
    if source is None:
        return {}
    accounts = WeComAccount.objects.complete().filter(
        ~barred_by_wecom(), corp__in=find_open_corps(), user__is_active=True
    )
    may_enter = set(accounts.filter(user__in=user_ids).values_list("user_id", flat=True))
    return {pk: found for pk, found in source.of_all(may_enter).items() if found}


def find_open_corps() -> QuerySet[Corp]:
    """Return the companies through which people enter the BI."""
    return Corp.objects.enabled().filter(bi_sign_in_enabled=True)


def find_unshared(field: str, user_ids: Collection[int]) -> dict[int, str]:
    """Map people's keys to the user names or e-mail addresses (`field`) that are safe as BI accounts.

    Left out are those that differ from another one at most in capitals (they can be one account in the BI), and user
    names that the directory has made (accounts.directory.linking), which may belong to another person there.
    """
    people = User.objects.filter(pk__in=user_ids).exclude(**{field: ""}).only(field, "made_username")
    values = {one.pk: getattr(one, field) for one in people if field != USERNAME or not one.has_made_username}
    rows = User.objects.annotate(folded=Lower(field)).filter(folded__in={value.lower() for value in values.values()})
    holders: dict[str, set[int]] = defaultdict(set)
    for pk, folded in rows.values_list("pk", "folded"):
        holders[folded].add(pk)
    return {pk: value for pk, value in values.items() if not holders[value.lower()] - {pk}}


# So many people are named in a sentence.
_NAMED = 3


def find_naming_permissions() -> QuerySet[Permission]:
    """Return the permissions to create people, and to change their user names and e-mail addresses."""
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
    """Explain that limited administrators choose people's names, so these are no BI identity; empty if none may."""
    found = list(find_administrators_who_name_people().order_by("username")[: _NAMED + 1])
    if not found:
        return ""
    sentence = gettext(
        "People must not enter the BI by a name that administrators of single companies choose, and these may create "
        "or rename people: %(people)s. Choose the loginId attribute, which only administrators of all companies set, "
        "or take this right from them first."
    )
    names = ", ".join(map(str, found[:_NAMED]))
    return sentence % {"people": names if len(found) <= _NAMED else f"{names} …"}


# --- Granting the right to create or rename people --------------------------------------------------------------------


def explain_objection_to_rights(person: User, values: dict[str, Any]) -> str:
    """Explain why `person` cannot get the rights in `values` (a form's changes); return an empty text if nothing is
    against it. People who have such rights already keep them. Call it in the transaction that saves them."""
    flags = ("is_active", "is_staff", "is_superuser", "manages_all_corps")
    active, staff, superuser, manages_all = (values.get(name, getattr(person, name)) for name in flags)
    if not (active and staff) or superuser or manages_all:
        return ""
    saved = person.pk is not None
    groups = values.get("groups", person.groups.all() if saved else [])
    permissions = values.get("user_permissions", person.user_permissions.all() if saved else [])
    lent = Q(group__in=[group.pk for group in groups]) | Q(pk__in=[one.pk for one in permissions])
    if not find_naming_permissions().filter(lent).exists():
        return ""
    if saved and find_administrators_who_name_people().filter(pk=person.pk).exists():
        return ""
    return _explain_refusal() if is_identity(USERNAME, EMAIL) else ""


def explain_objection_to_permissions(group: Group, permissions: Iterable[Permission]) -> str:
    """Explain why `group` cannot get the permissions, which all its members would hold (see
    explain_objection_to_rights)."""
    chosen = [permission.pk for permission in permissions]
    if group.pk is None or not find_naming_permissions().filter(pk__in=chosen).exists():
        return ""
    made = (
        find_limited_administrators()
        .filter(groups=group)
        .exclude(pk__in=find_administrators_who_name_people().values("pk"))
    )
    return _explain_refusal() if made.exists() and is_identity(USERNAME, EMAIL) else ""


def _explain_refusal() -> str:
    return gettext(
        "People enter the BI by their user name or e-mail, so nobody who is limited to single companies may create or "
        "rename people: they could enter it as somebody else. First choose the loginId attribute, under Guandata BI, "
        "or leave this right out."
    )
