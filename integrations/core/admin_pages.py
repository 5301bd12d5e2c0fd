"""What pages of the administration share: versions, confirmation, long lists, and ways out of an empty select."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models, transaction
from django.forms import Field
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import formats, timezone
from django.utils.crypto import salted_hmac
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from integrations.core import hooks
from integrations.models import Corp
from integrations.models.fields import corp_condition

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.forms.formsets import ManagementForm
    from django.http import QueryDict
    from django_stubs_ext import StrOrPromise

    from integrations.core.hooks import Saved
    from integrations.models.fields import Person

    # Django's generic classes, for any model: they take a type parameter while types are checked, none at run time.
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyStackedInline = admin.StackedInline[Any, Any]
    AnyTabularInline = admin.TabularInline[Any, Any]
    AnyModelForm = forms.ModelForm[Any]
    AnyInlineFormSet = BaseInlineFormSet[Any, Any, Any]
    AnyPaginator = Paginator[Any]
else:
    AnyModelAdmin = admin.ModelAdmin
    AnyStackedInline = admin.StackedInline
    AnyTabularInline = admin.TabularInline
    AnyModelForm = forms.ModelForm
    AnyInlineFormSet = BaseInlineFormSet
    AnyPaginator = Paginator

# --- Versions: who saves a page second is told so, and decides whether to save over it --------------------------------

VERSION = "page_version"
_SECONDS = re.compile(r"[0-9]{1,10}")
_KEY = re.compile(r"[1-9][0-9]{0,17}")


class VersionField(forms.CharField):
    """The version that the page was opened with. It never counts as a change of the row."""

    def __init__(self) -> None:
        super().__init__(required=False, widget=forms.HiddenInput)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class VersionedForm(AnyModelForm):
    """A form that refuses to overwrite unseen what somebody else saved after the page was opened.

    The page carries its version: the time, and a keyed digest of the values that it shows. A digest needs no column,
    and also counts what services write past `save()`, such as the end of a leaver's sign-in. What the second person
    typed stays in the page, which comes back with the new version: saving it again saves over what was saved.

    `version_columns`: columns that no page shows, such as a secret. `unversioned_fields`: fields that are not compared.
    `edits_rows`: whether the page has rows of its own, which `values_of` includes. `is_second`: whether somebody else
    saved meanwhile.
    """

    version_columns: ClassVar[tuple[str, ...]] = ()
    unversioned_fields: ClassVar[frozenset[str]] = frozenset()
    edits_rows: ClassVar[bool] = False
    is_second = False
    page_version = VersionField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            del self.fields[VERSION]

    def get_initial_for_field(self, field: Any, field_name: str) -> Any:
        """Reckon the version when the page is rendered: the fields are complete then."""
        if field_name == VERSION:
            return "" if self.is_bound else _stamped(self.version_of(self.instance))
        return super().get_initial_for_field(field, field_name)

    def values_of(self, row: Any) -> dict[str, Any]:
        """Return what the page shows of `row`: of chosen rows the keys."""
        names = {*self.fields, *self.version_columns} - self.unversioned_fields
        values = {one.name: one.value_from_object(row) for one in row._meta.concrete_fields if one.name in names}
        for one in row._meta.many_to_many:
            if one.name in names:
                values[one.name] = sorted(getattr(row, one.name).values_list("pk", flat=True))
        return values

    def version_of(self, row: models.Model) -> str:
        """Return a digest of the values that the page shows. It tells nothing of a secret."""
        values = sorted(self.values_of(row).items())
        return salted_hmac("integrations.page_version", repr((row._meta.label, row.pk, values))).hexdigest()

    def saved_rows(self) -> Sequence[models.Model]:
        """Return the rows on whose pages the same values are saved."""
        return [self.instance]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if VERSION in self.fields:
            self._check_version()
        return cleaned

    def _check_version(self) -> None:
        """Lock the row until the form is saved (the admin saves in one transaction), and compare the versions."""
        is_changed = self.edits_rows or self.has_changed()
        before = "" if is_changed else self.version_of(self.instance)
        rows = type(self.instance)._default_manager.filter(pk=self.instance.pk)
        with transaction.atomic():
            row = rows.select_for_update(of=("self",)).first()
        if row is None:
            self.add_error(None, _("Somebody deleted this meanwhile."))
            return
        self._take_over(row)
        version = self.version_of(row)
        opened_at, _dot, opened = self.cleaned_data.get(VERSION, "").partition(".")
        if version in (opened, before):  # a form that changes nothing overwrites nothing
            return
        self.is_second = True
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict, the data of a request
        data[self.add_prefix(VERSION)] = _stamped(version)
        self.data = data
        since = datetime.fromtimestamp(int(opened_at) if _SECONDS.fullmatch(opened_at) else 0, UTC)
        told = _("%(who)s What you typed is kept below and not saved yet. Save once more to put it in place of that.")
        sentence = told % {"who": who_saved(hooks.people().last_saved(self.saved_rows(), since))}
        way_out = _("Show what is saved now, without my changes")
        self.add_error(None, format_html('{} <a href="">{}</a>', sentence, way_out))

    def _take_over(self, row: models.Model) -> None:
        """Save what nobody fills in as it is now, not as it was when the request began: ended sessions stay ended."""
        filled_in = {name for name, field in self.fields.items() if not field.disabled}
        unread = self.instance.get_deferred_fields()
        for column in row._meta.concrete_fields:
            if column.name not in filled_in and column.attname not in unread:
                setattr(self.instance, column.attname, getattr(row, column.attname))


def _stamped(version: str) -> str:
    return f"{int(timezone.now().timestamp())}.{version}"


def who_saved(saved: Saved | None) -> str:
    """Say in a sentence who saved something after the page was opened. None: nobody knows."""
    if saved is None:
        return gettext("Somebody else saved this after you had opened the page.")
    by = _("%(person)s saved this at %(at)s, after you had opened the page.")
    if not saved.by:
        by = _("The program itself (a command, or a background task) saved this at %(at)s, after you had opened it.")
    return by % {"person": saved.by, "at": formats.date_format(timezone.localtime(saved.at), "DATETIME_FORMAT")}


class VersionedFormSet(AnyInlineFormSet):
    """The rows of such a page. A row that somebody else removed comes back as a new one if the page is saved again."""

    @cached_property
    def management_form(self) -> ManagementForm:
        if self.is_bound:
            self._renew_removed_rows()
        return super().management_form

    def _renew_removed_rows(self) -> None:
        """Move rows that are gone behind those that are saved, which Django expects first, and clear their keys."""
        sent: QueryDict = self.data  # type: ignore[assignment]  # the data of a request
        rows: dict[int, dict[str, list[str]]] = {}
        data = sent.copy()
        for name in sent:
            number, _dash, ending = name.removeprefix(f"{self.prefix}-").partition("-")
            if name.startswith(f"{self.prefix}-") and number.isdecimal():
                rows.setdefault(int(number), {})[ending] = data.pop(name)
        keys = {row["id"][0] for row in rows.values() if _KEY.fullmatch(row.get("id", [""])[0])}
        model: Any = self.model
        there = {str(key) for key in model._base_manager.filter(pk__in=keys).values_list("pk", flat=True)}
        if not keys - there:
            return
        kept: list[dict[str, list[str]]] = []
        for _number, row in sorted(rows.items()):
            is_gone = row.get("id", [""])[0] in keys - there
            if not is_gone or "DELETE" not in row:
                kept.append({**row, "id": [""]} if is_gone else row)
        kept.sort(key=lambda row: row.get("id") in (None, [""]))
        for place, row in enumerate(kept):
            for ending, values in row.items():
                data.setlist(f"{self.prefix}-{place}-{ending}", values)
        data[f"{self.prefix}-TOTAL_FORMS"] = str(len(kept))
        data[f"{self.prefix}-INITIAL_FORMS"] = str(sum(row.get("id") not in (None, [""]) for row in kept))
        self.data = data


# --- Confirmation -----------------------------------------------------------------------------------------------------


class ConfirmedChanges(AnyModelAdmin):
    """An admin whose pages take what is sent to them only from a person who has confirmed; before the other bases.

    Whoever finds an open browser must not be able to give rights, read or replace secrets, move addresses or make
    tokens. Pages are only marked here: integrations, the lowest app, knows no passwords. accounts asks, in
    `accounts.views.confirmation.ConfirmationMiddleware`.

    Opening a page asks nobody: it may only be read, and asking later loses nothing that was typed. Pages that show a
    secret take a POST, too.
    """

    # Names of pages that take what gives nobody anything: a check to run, a file that is public anyway.
    unconfirmed_pages: frozenset[str] = frozenset()

    @property
    def urls(self) -> list[URLPattern]:
        """Mark the pages here and not in get_urls(): an admin adds its own pages there, around those of its bases."""
        patterns = self.get_urls()
        for pattern in patterns:
            if pattern.name not in self.unconfirmed_pages:
                pattern.callback.is_confirmed = True  # type: ignore[attr-defined]  # how Django marks views, too
        return patterns


# --- Long lists, without counting all rows ----------------------------------------------------------------------------

# The lists lead no further than this: beyond, a search or a filter finds more than leafing does.
ROWS_COUNTED = 1_000


class CappedPaginator(AnyPaginator):
    """Counts up to ROWS_COUNTED rows: a full count of a log of millions would take longer than the page."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin passes querysets only
        # Only the keys: annotations of the list, such as counts, need not be computed here.
        return rows.order_by().values("pk")[:ROWS_COUNTED].count()


def read_newest_first(rows: QuerySet[Any], *, at_once: int) -> Iterator[Any]:
    """Yield the rows, so many read by one query: however slowly a download goes, no cursor or transaction stays open,
    and no more than those are in memory."""
    rows = left = rows.order_by("-pk")
    while part := list(left[:at_once]):
        yield from part
        left = rows.filter(pk__lt=part[-1].pk)


@dataclass(frozen=True)
class KeysetPage:
    """Some rows of a long list in the order of their keys, and where the pages around begin: no row is counted, and
    none before is read. `before` and `after`: keys for `keyset_page`, None where there is nothing."""

    rows: list[Any]
    before: int | None
    after: int | None


def keyset_page(rows: QuerySet[Any], *, before: int | None = None, after: int | None = None, size: int) -> KeysetPage:
    """The first `size` rows; those next to the key `after`, or those up to the key `before`."""
    if before is not None:
        found = list(rows.filter(pk__lt=before).order_by("-pk")[: size + 1])
        has_more, page = len(found) > size, found[:size][::-1]
        return KeysetPage(page, page[0].pk if page and has_more else None, page[-1].pk if page else before - 1)
    found = list((rows if after is None else rows.filter(pk__gt=after)).order_by("pk")[: size + 1])
    page = found[:size]
    return KeysetPage(
        page, page[0].pk if page and after is not None else None, page[-1].pk if len(found) > size else None
    )


# --- Ways out of a select in which there is nothing to choose ---------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """Why a select is empty, and where it is filled. A row that Django's admin makes is made in a window that chooses
    it and closes; any other page opens in a tab of its own, with the way back on top (static/guanwecom/errand.js).

    `why`: there is nothing to choose. `add`: the name of the link that makes one; empty where the admin has no form
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
            field.widget.way = describe_way(way, queryset.model, request, is_empty=is_empty, in_windows=in_windows)
            if field.widget.way["add_url"]:  # in place of Django's plus
                field.widget.can_add_related = False


def way_out(model: Any, request: HttpRequest, *, field: str) -> str:
    """The line for a select that a script fills; something can be added in any case. `field`: its id."""
    return _drawn(describe_way(WAYS[model._meta.label], model, request, is_empty=not model.objects.exists()), field)


def _drawn(way: Mapping[str, Any], field: str) -> SafeString:
    return render_to_string("admin/_way_out.html", {**way, "id": field})


def describe_way(
    way: Way, model: Any, request: HttpRequest, *, is_empty: bool, in_windows: bool = True
) -> dict[str, Any]:
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
    return hooks.people().whom_to_ask(person, permission, corp_ids)


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
