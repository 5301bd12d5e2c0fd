"""Says beside a select of a form why it is empty, and leads to where it is filled; the form stays as it is meanwhile.

A row that Django's admin makes is made in a window that chooses it here and closes. Any other page opens in a tab of
its own, with the way back on top (guanwecom/static/guanwecom/errand.js).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.forms import Field
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from integrations.core import hooks
from integrations.models import Corp
from integrations.models.fields import corp_condition

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from integrations.models.fields import Person


@dataclass(frozen=True)
class Way:
    """`why`: there is nothing to choose. `add`: the name of the link that makes one; empty where the admin has no form
    for it. `page`: of another page that brings some, with its permission and the name of its link. `hidden`: why, where
    there are some that this person may not see; `unfit`: why, where there are some that do not fit."""

    why: StrOrPromise
    add: StrOrPromise = ""
    page: str = ""
    permission: str = ""
    label: StrOrPromise = ""
    hidden: StrOrPromise = ""
    unfit: StrOrPromise = ""


SYNC = ("integrations_syncrun_start", "integrations.sync_directory", _("Synchronise the directory"))
COMPANY = ("integrations_corp_add", "integrations.add_corp", _("Connect a company"))
TOKEN = ("notifications_apitoken_add", "notifications.add_apitoken", _("New API token"))
PUSH = ("notifications_subscription_add", "notifications.add_subscription", _("New push"))
# By the label of the model that is chosen.
WAYS: Mapping[str, Way] = {
    "integrations.Corp": Way(
        _("No company is connected yet."), "", *COMPANY, hidden=_("No WeCom company is assigned to you.")
    ),
    "integrations.Department": Way(_("The directory is not synchronised yet."), "", *SYNC),
    "integrations.Card": Way(
        _("There is no card yet."), _("New card"), hidden=_("There are cards of all companies, which you may not see.")
    ),
    "integrations.DataSource": Way(
        _("There is no data source yet."),
        _("New data source"),
        hidden=_("There are data sources of all companies, which you may not see."),
    ),
    "integrations.SiteAddress": Way(_("There is no site address yet."), _("New site address")),
    "accounts.User": Way(
        _("There are no people yet."), _("New person"), *SYNC, unfit=_("Nobody can be chosen here at present.")
    ),
    "accounts.Attribute": Way(_("There are no user attributes yet."), _("New user attribute")),
    "auth.Group": Way(_("There are no groups yet."), _("New group")),
    "notifications.Robot": Way(_("No group robot is entered yet."), _("New group robot")),
    "notifications.ApiToken": Way(_("There is no API token yet."), "", *TOKEN),
    "notifications.Subscription": Way(_("There is no push yet."), "", *PUSH),
    "notifications.Report": Way(_("There is no content yet. Who may change reports makes one.")),
}


class Explained:
    """Mixed into a widget: the line stands below it."""

    way: Mapping[str, Any]

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        drawn: SafeString = super().render(name, value, attrs, renderer)  # type: ignore[misc]  # of the widget
        return drawn + _drawn(self.way, (attrs or {}).get("id", ""))


def offer_ways(
    fields: Mapping[str, Field], request: HttpRequest, *, always: Collection[str] = (), in_windows: bool = True
) -> None:
    """Explain the fields that have nothing to choose. `always`: names of those from which something can be added in any
    case. `in_windows`: whether the page can choose what was added in a window of Django's admin."""
    for name, field in fields.items():
        queryset: Any = getattr(field, "queryset", None)
        way = None if queryset is None else WAYS.get(queryset.model._meta.label)
        if way is None or field.disabled or field.widget.is_hidden or isinstance(field.widget, Explained):
            continue
        is_empty = not queryset.exists()
        if is_empty or name in always:
            kind = type(field.widget)
            field.widget.__class__ = type(kind.__name__, (Explained, kind), {})
            field.widget.way = line(way, queryset.model, request, is_empty=is_empty, in_windows=in_windows)
            if field.widget.way["add_url"]:  # in place of Django's plus
                field.widget.can_add_related = False


def way_out(model: Any, request: HttpRequest, *, field: str) -> str:
    """The line for a select that a script fills; something can be added in any case. `field`: its id."""
    return _drawn(line(WAYS[model._meta.label], model, request, is_empty=not model.objects.exists()), field)


def _drawn(way: Mapping[str, Any], field: str) -> SafeString:
    return render_to_string("admin/_way_out.html", {**way, "id": field})


def line(way: Way, model: Any, request: HttpRequest, *, is_empty: bool, in_windows: bool = True) -> dict[str, Any]:
    """What the template of the line needs."""
    add_url = _add_url(way, model, request)
    page_url, label = _page(way, request) if is_empty else ("", "")
    is_hidden = is_empty and _is_hidden(way, model, request.user)
    why = way.hidden if is_hidden else way.why
    if is_empty and way.unfit and model.objects.exists():
        why = way.unfit
    return {
        "why": why if is_empty else "",
        "add": way.add,
        "add_url": add_url,
        "page_url": page_url,
        "page_label": label,
        "in_windows": in_windows,
        "ask": _whom_to_ask(way, model, request.user, is_hidden) if is_empty and not add_url and not page_url else "",
    }


def _is_hidden(way: Way, model: Any, person: Person) -> bool:
    """Whether there are some of no company, or the person has no company: nothing is told of other companies."""
    if not way.hidden:
        return False
    if model is Corp:
        return bool(corp_condition(person))
    return bool(model.objects.hidden_from(person).exists())


def _whom_to_ask(way: Way, model: Any, person: Person, is_hidden: bool) -> str:
    """Who adds some here, or brings them; for what of all companies is hidden, who manages all."""
    permission = way.permission if way.page else f"{model._meta.app_label}.add_{model._meta.model_name}"
    if model is Corp and is_hidden:
        permission = "accounts.change_user"
    corp_ids = () if is_hidden or model is Corp else None
    return hooks.whom_to_ask.first(person, permission, corp_ids) or ""


def _page(way: Way, request: HttpRequest) -> tuple[str, StrOrPromise]:
    """Its address and the name of the link, for whoever may use it; else empty. The directory is that of the first
    company that is enabled; without one a company comes first."""
    page, permission, label, keys = way.page, way.permission, way.label, []
    if page == SYNC[0]:
        corp = Corp.objects.visible_to(request.user).filter(is_enabled=True).order_by("pk").first()
        if corp is None:
            page, permission, label = COMPANY
        else:
            keys = [corp.pk]
    if not page or not request.user.has_perm(permission):
        return "", ""
    return reverse(f"admin:{page}", args=keys), label


def _add_url(way: Way, model: Any, request: HttpRequest) -> str:
    may = way.add and admin.site.get_model_admin(model).has_add_permission(request)
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add") if may else ""
