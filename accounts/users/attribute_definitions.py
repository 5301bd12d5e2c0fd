"""Finds references to an attribute, to block deleting or changing it; the attributes that come ready-made."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed_apps
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models import Q
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Attribute, AttributeValue, DirectoryPolicy
from accounts.users.attributes import dropped_choices
from accounts.users.bi_identity import is_entered_by_login_id
from integrations.hooks import Hook
from integrations.models import Corp

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString


# Named of each kind, to be put right before; the rest follows then.
NAMED_AT_MOST = 20

# Asked while an attribute is saved without these folded values: in words, whatever compares people's values with one of
# them. Quick, and writes nothing.
values_dropped: Hook[[Attribute, Collection[str]], list[str]] = Hook()


def taken_away_with(attribute: Attribute) -> list[str]:
    """What deleting `attribute` takes away."""
    count = AttributeValue.objects.of(attribute).values("user").distinct().count()
    sentence = ngettext("The values of %(count)d person.", "The values of %(count)d people.", count)
    return [sentence % {"count": count}]


def kept_by(attribute: Attribute) -> list[models.Model]:
    """The rows that rest on it and so forbid deleting it: of this app and of higher ones, wherever a key says PROTECT.

    Found by foreign keys, so that every new reference to an attribute is guarded without further code.
    """
    # Also the hidden ones: most keys to an attribute have no reverse accessor.
    pointing: list[Any] = [one for one in Attribute._meta.get_fields(include_hidden=True) if one.one_to_many]
    rows: list[models.Model] = []
    for relation in (one for one in pointing if one.on_delete is models.PROTECT):
        found = relation.related_model._default_manager.filter(**{relation.field.name: attribute.pk})
        rows += found.order_by("pk")[:NAMED_AT_MOST]
    return rows


def check_uses(*, attribute: Attribute) -> None:
    """Whether nothing rests on what a definition, about to be saved, would not be any more.

    Raises ValidationError with a sentence for each field in the way.
    """
    stored = Attribute.objects.filter(pk=attribute.pk).first()
    if stored is None:
        return
    problems: dict[str, str] = {}
    if stored.is_employee_number and not attribute.is_employee_number:
        policies = DirectoryPolicy.objects.filter(number_attribute=attribute).select_related("corp")
        names = _(", ").join(policy.corp.name for policy in policies[:NAMED_AT_MOST])
        if names:
            said = _("The directory finds people by it, in %(companies)s: choose another one in the directory policy.")
            problems["is_employee_number"] = said % {"companies": names}
    if stored.is_bi_login_id and not attribute.is_bi_login_id and is_entered_by_login_id():
        problems["is_bi_login_id"] = _(
            "People enter the BI by it. Switch the BI connection off before, and on again once another attribute is "
            "marked."
        )
    problems |= _changed_below_rows(stored, attribute)
    problems |= _dropped_below_uses(stored, attribute)
    if problems:
        raise ValidationError(problems)


def _changed_below_rows(stored: Attribute, attribute: Attribute) -> dict[str, str]:
    """What a rule compares means something else for values of another kind, or where there are several."""
    changed = [name for name in ("kind", "is_many_valued") if getattr(stored, name) != getattr(attribute, name)]
    rows = [str(row) for row in kept_by(stored)] if changed else []
    return dict.fromkeys(changed, _in_the_way(rows)) if rows else {}


def _dropped_below_uses(stored: Attribute, attribute: Attribute) -> dict[str, str]:
    """Nobody could have the value any more with which a rule compares."""
    dropped = dropped_choices(stored, attribute)
    rows = values_dropped.joined(stored, dropped) if dropped else []
    return {"choices": _in_the_way(rows)} if rows else {}


def _in_the_way(rows: list[str]) -> str:
    said = _("This rests on it, and has to be changed before: %(rows)s.")
    return said % {"rows": "; ".join(rows[:NAMED_AT_MOST])}


# --- When people have the two attributes: from the first enabling of a WeCom company on, for good ---

_REMEMBERED = "guanwecom.wecom_attributes"


def have_appeared(request: HttpRequest) -> bool:
    """One query for each request, however many parts of the page ask."""
    if _REMEMBERED not in request.META:
        request.META[_REMEMBERED] = Corp.objects.ever_enabled().exists()
    return bool(request.META[_REMEMBERED])


def notice_of_first_enabling(request: HttpRequest) -> SafeString:
    """What enabling the first company brings, with the way there for those who may see people."""
    words = _("People now have two attributes: “WeCom company name” and “WeCom account”.")
    if not request.user.has_perm("accounts.view_user"):
        return format_html("{}", words)
    return format_html('{} <a href="{}">{}</a>', words, reverse("admin:accounts_user_changelist"), _("Set them"))


# --- The user attribute that is there from the start: the person's loginId in the BI ---

KEY, NAME = "bi_login_id", "BI loginId"


def ensure_bi_login_id(*, apps: Any = installed_apps, using: str = DEFAULT_DB_ALIAS, **_signal: Any) -> None:
    """Create it after migrations where no attribute is marked as the loginId; another one that is stays the one."""
    try:
        attributes = apps.get_model("accounts", "Attribute")._base_manager.using(using)
    except LookupError:  # migrated back to before there were attributes
        return
    if not attributes.filter(Q(is_bi_login_id=True) | Q(key=KEY) | Q(name=NAME)).exists():
        attributes.create(key=KEY, name=NAME, is_unique=True, is_bi_login_id=True, position=10)
