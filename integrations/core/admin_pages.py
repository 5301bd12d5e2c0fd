"""Shared parts of the administration's pages: versions, confirmation, long lists, and help for an empty select."""

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

    from integrations.core.hooks import LastSave

    # Django's generic classes, for any model: they take a type parameter only while types are checked.
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


class DateAndTime(forms.SplitDateTimeWidget):
    """A day in the browser's own field, and a time of day as text, which looks the same in every browser."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        day, clock = {"type": "date", "aria-label": _("date")}, {"placeholder": "09:00", "aria-label": _("time")}
        super().__init__(attrs, date_format="%Y-%m-%d", time_format="%H:%M", date_attrs=day, time_attrs=clock)  # type: ignore[arg-type]  # texts that are translated when shown


# The fields of dates and times on all pages, in place of Django's calendar, whose days have English names.
NATIVE_DATES: Mapping[type[models.Field[Any, Any]], dict[str, Any]] = {
    models.DateTimeField: {"form_class": forms.SplitDateTimeField, "widget": DateAndTime},
    models.DateField: {"widget": forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})},
    models.TimeField: {"widget": forms.TimeInput(format="%H:%M", attrs={"placeholder": "09:00"})},
}


def label_empty_choice(field: Any) -> Any:
    """Replace the dashes of Django's empty choice by "not chosen"."""
    dashes = models.fields.BLANK_CHOICE_DASH[0][1]
    if getattr(field, "empty_label", None) == dashes:
        field.empty_label = _("not chosen")
    elif isinstance(field, forms.TypedChoiceField):
        choices: Any = field.choices
        field.choices = [("", _("not chosen")) if one == ("", dashes) else one for one in choices]
    return field


# --- Versions: warn the second person who saves a page, and let them decide whether to overwrite ----------------------

VERSION = "page_version"
_SECONDS = re.compile(r"[0-9]{1,10}")
_KEY = re.compile(r"[1-9][0-9]{0,17}")


class VersionField(forms.CharField):
    """The version of the row when the page was opened. It never counts as a change of the row."""

    def __init__(self) -> None:
        super().__init__(required=False, label="", widget=forms.HiddenInput)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class VersionedForm(AnyModelForm):
    """A form that does not silently overwrite what somebody else saved after the page was opened.

    The page carries its version: the time, and a keyed digest of the values that it shows. A digest needs no column,
    and also covers values that services write without `save()`, such as the end of a leaver's sign-in. If the row's
    version differs, the page comes back with the input and the new version; saving it again overwrites.

    `version_columns`: columns to compare that no page shows, such as a secret. `unversioned_fields`: not compared.
    `edits_rows`: whether the page edits related rows, which `read_values` includes.
    """

    version_columns: ClassVar[tuple[str, ...]] = ()
    unversioned_fields: ClassVar[frozenset[str]] = frozenset()
    edits_rows: ClassVar[bool] = False
    page_version = VersionField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance._state.adding:
            del self.fields[VERSION]

    def get_initial_for_field(self, field: Any, field_name: str) -> Any:
        """Compute the version when the page is rendered, because the fields are complete only then."""
        if field_name == VERSION:
            return "" if self.is_bound else _add_timestamp(self.compute_version(self.instance))
        return super().get_initial_for_field(field, field_name)

    def read_values(self, row: Any) -> dict[str, Any]:
        """Return the values of `row` that the page shows; for a many-to-many field, the keys."""
        names = {*self.fields, *self.version_columns} - self.unversioned_fields
        values = {one.name: one.value_from_object(row) for one in row._meta.concrete_fields if one.name in names}
        for one in row._meta.many_to_many:
            if one.name in names:
                values[one.name] = sorted(getattr(row, one.name).values_list("pk", flat=True))
        return values

    def compute_version(self, row: models.Model) -> str:
        """Return a digest of the values that the page shows. It reveals nothing of a secret."""
        values = sorted(self.read_values(row).items())
        return salted_hmac("integrations.page_version", repr((row._meta.label, row.pk, values))).hexdigest()

    def list_saved_rows(self) -> Sequence[models.Model]:
        """Return the rows whose last save the warning names: this row, and rows whose pages also save it."""
        return [self.instance]

    def clean(self) -> dict[str, Any] | None:
        """Lock the row until the form is saved (the admin saves in one transaction), and compare the versions."""
        cleaned = super().clean()
        if VERSION not in self.fields:
            return cleaned
        is_changed = self.edits_rows or self.has_changed()
        before = "" if is_changed else self.compute_version(self.instance)
        rows = type(self.instance)._default_manager.filter(pk=self.instance.pk)
        with transaction.atomic():
            row = rows.select_for_update(of=("self",)).first()
        if row is None:
            self.add_error(None, _("Somebody deleted this meanwhile."))
            return cleaned
        # Keep the current values of columns that the form does not edit, so that ended sessions stay ended.
        filled_in = {name for name, field in self.fields.items() if not field.disabled}
        unread = self.instance.get_deferred_fields()
        for column in row._meta.concrete_fields:
            if column.name not in filled_in and column.attname not in unread:
                setattr(self.instance, column.attname, getattr(row, column.attname))
        version = self.compute_version(row)
        opened_at, _dot, opened = self.cleaned_data.get(VERSION, "").partition(".")
        if version in (opened, before):  # a form that changes nothing overwrites nothing
            return cleaned
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict, the data of a request
        data[self.add_prefix(VERSION)] = _add_timestamp(version)
        self.data = data
        since = datetime.fromtimestamp(int(opened_at) if _SECONDS.fullmatch(opened_at) else 0, UTC)
        who = describe_saving(hooks.people().find_last_save(self.list_saved_rows(), since))
        sentence = gettext(
            "%(who)s What you typed is kept below and not saved yet. Save once more to overwrite what is saved now."
        )
        link = gettext("Show what is saved now, without my changes")
        self.add_error(None, format_html('{} <a href="">{}</a>', sentence % {"who": who}, link))
        return cleaned


def _add_timestamp(version: str) -> str:
    return f"{int(timezone.now().timestamp())}.{version}"


def describe_saving(saved: LastSave | None) -> str:
    """Return a sentence on who saved after the page was opened. `saved`: None if that is unknown."""
    if saved is None:
        return gettext("Somebody else saved this after you had opened the page.")
    text = _("%(person)s saved this at %(at)s, after you had opened the page.")
    if not saved.by:
        text = _("The program itself (a command, or a background task) saved this at %(at)s, after you had opened it.")
    return text % {"person": saved.by, "at": formats.date_format(timezone.localtime(saved.at), "DATETIME_FORMAT")}


class VersionedFormSet(AnyInlineFormSet):
    """The related rows of a versioned page. Saving again adds a row anew that somebody else removed meanwhile."""

    @cached_property
    def management_form(self) -> ManagementForm:
        """Return Django's form, after moving removed rows behind the existing ones, which Django expects first, and
        clearing their keys."""
        if not self.is_bound:
            return super().management_form
        sent: QueryDict = self.data  # type: ignore[assignment]  # the data of a request
        rows: dict[int, dict[str, list[str]]] = {}
        data = sent.copy()
        for name in sent:
            number, _dash, ending = name.removeprefix(f"{self.prefix}-").partition("-")
            if name.startswith(f"{self.prefix}-") and number.isdecimal():
                rows.setdefault(int(number), {})[ending] = data.pop(name)
        keys = {row["id"][0] for row in rows.values() if _KEY.fullmatch(row.get("id", [""])[0])}
        model: Any = self.model
        existing = {str(key) for key in model._base_manager.filter(pk__in=keys).values_list("pk", flat=True)}
        if not keys - existing:
            return super().management_form
        kept: list[dict[str, list[str]]] = []
        for _number, row in sorted(rows.items()):
            is_gone = row.get("id", [""])[0] in keys - existing
            if not is_gone or "DELETE" not in row:
                kept.append({**row, "id": [""]} if is_gone else row)
        kept.sort(key=lambda row: row.get("id") in (None, [""]))
        for place, row in enumerate(kept):
            for ending, values in row.items():
                data.setlist(f"{self.prefix}-{place}-{ending}", values)
        data[f"{self.prefix}-TOTAL_FORMS"] = str(len(kept))
        data[f"{self.prefix}-INITIAL_FORMS"] = str(sum(row.get("id") not in (None, [""]) for row in kept))
        self.data = data
        return super().management_form


# --- Confirmation -----------------------------------------------------------------------------------------------------


class ConfirmedChanges(AnyModelAdmin):
    """An admin that accepts input only from a person who has just confirmed their identity. List it before other bases.

    Somebody at an open browser must not be able to grant rights, read or replace secrets, change addresses or create
    tokens. integrations is the lowest app and knows no passwords, so it only marks the pages; accounts asks in
    `accounts.views.confirmation.ConfirmationMiddleware`.

    Opening a page needs no confirmation, because reading is allowed and asking later loses no input. Pages that show a
    secret are opened by POST, so they need one.
    """

    # Names of pages whose input is harmless: running a check, or a file that is public anyway.
    unconfirmed_pages: frozenset[str] = frozenset()

    @property
    def urls(self) -> list[URLPattern]:
        """Return Django's URLs, with their views marked. get_urls() of this class could not mark them: admins derived
        from it add their own pages after it."""
        patterns = self.get_urls()
        for pattern in patterns:
            if pattern.name not in self.unconfirmed_pages:
                pattern.callback.needs_confirmation = True  # type: ignore[attr-defined]  # how Django marks views, too
        return patterns


# --- Long lists, without counting all rows ----------------------------------------------------------------------------

# Lists end here: beyond it a search or a filter is more useful than another page.
ROWS_COUNTED = 1_000


class CappedPaginator(AnyPaginator):
    """Counts up to ROWS_COUNTED rows, because a full count of millions would take longer than the page."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin passes querysets only
        # Only the keys, so that annotations such as counts are not computed.
        return rows.order_by().values("pk")[:ROWS_COUNTED].count()


def read_rows_newest_first(rows: QuerySet[Any], *, at_once: int) -> Iterator[Any]:
    """Yield the rows, `at_once` of them per query, so that a slow download keeps no cursor or transaction open and
    only few rows in memory."""
    rows = left = rows.order_by("-pk")
    while part := list(left[:at_once]):
        yield from part
        left = rows.filter(pk__lt=part[-1].pk)


@dataclass(frozen=True)
class KeysetPage:
    """A page of a long list in the order of the keys, without counting rows or reading earlier ones. `before` and
    `after`: keys for `read_page`; None at the ends."""

    rows: list[Any]
    before: int | None
    after: int | None


def read_page(rows: QuerySet[Any], *, before: int | None = None, after: int | None = None, size: int) -> KeysetPage:
    """Return the first `size` rows, or those after the key `after`, or the last before the key `before`."""
    if before is not None:
        found = list(rows.filter(pk__lt=before).order_by("-pk")[: size + 1])
        has_more, page = len(found) > size, found[:size][::-1]
        # If no row is left before it, the next page begins with the row `before`.
        return KeysetPage(page, page[0].pk if page and has_more else None, page[-1].pk if page else before - 1)
    found = list((rows if after is None else rows.filter(pk__gt=after)).order_by("pk")[: size + 1])
    page = found[:size]
    return KeysetPage(
        page, page[0].pk if page and after is not None else None, page[-1].pk if len(found) > size else None
    )


# --- Help for a select without choices --------------------------------------------------------------------------------


@dataclass(frozen=True)
class EmptySelectHelp:
    """The reason why a select is empty, and links to add what is missing.

    `why`: the reason if no row exists. `add`: the label of the link to the form of a new row, empty if there is none;
    it opens in a window of Django's admin, which puts the new row into the select. `page`, `permission`, `label`:
    another page that brings rows; it opens in a tab with a link back to the form (static/guanwecom/errand.js).
    `hidden`: the reason if all rows are hidden from this person; `unfit`: the reason if rows exist but do not fit."""

    why: StrOrPromise
    add: StrOrPromise = ""
    page: str = ""
    permission: str = ""
    label: StrOrPromise = ""
    hidden: StrOrPromise = ""
    unfit: StrOrPromise = ""


# Other pages that bring rows: URL name in the admin, permission, label of the link.
SYNC_PAGE = ("integrations_syncrun_start", "integrations.sync_directory", _("Synchronise the directory"))
COMPANY_PAGE = ("integrations_corp_add", "integrations.add_corp", _("Connect a company"))
TOKEN_PAGE = ("notifications_apitoken_add", "notifications.add_apitoken", _("New API token"))
PUSH_PAGE = ("notifications_subscription_add", "notifications.add_subscription", _("New push"))
# By the label of the model to choose from.
EMPTY_SELECT_HELP: Mapping[str, EmptySelectHelp] = {
    "integrations.Corp": EmptySelectHelp(
        _("No company is connected yet."), "", *COMPANY_PAGE, hidden=_("No WeCom company is assigned to you.")
    ),
    "integrations.Department": EmptySelectHelp(_("The directory is not synchronised yet."), "", *SYNC_PAGE),
    "integrations.Card": EmptySelectHelp(
        _("There is no data yet."), _("New data"), hidden=_("There is data of all companies, which you may not see.")
    ),
    "integrations.DataSource": EmptySelectHelp(
        _("There is no data source yet."),
        _("New data source"),
        hidden=_("There are data sources of all companies, which you may not see."),
    ),
    "integrations.SiteAddress": EmptySelectHelp(_("There is no site address yet."), _("New site address")),
    "accounts.User": EmptySelectHelp(
        _("There are no people yet."), _("New person"), *SYNC_PAGE, unfit=_("Nobody can be chosen here at present.")
    ),
    "accounts.Attribute": EmptySelectHelp(_("No attribute can be chosen yet."), _("New attribute")),
    "auth.Group": EmptySelectHelp(_("There are no groups yet."), _("New group"), unfit=_("No group can be chosen.")),
    "notifications.Robot": EmptySelectHelp(_("No group robot is entered yet."), _("New group robot")),
    "notifications.ApiToken": EmptySelectHelp(_("There is no API token yet."), "", *TOKEN_PAGE),
    "notifications.Subscription": EmptySelectHelp(_("There is no push yet."), "", *PUSH_PAGE),
    "notifications.Report": EmptySelectHelp(_("There is no content yet. People who may change reports can add it.")),
}


class HelpBelowMixin:
    """Mixin of a widget that shows help for an empty select below it."""

    help: Mapping[str, Any]

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        drawn: SafeString = super().render(name, value, attrs, renderer)  # type: ignore[misc]  # it is mixed into widgets
        return drawn + render_help(self.help, (attrs or {}).get("id", ""))


def explain_empty_selects(
    fields: Mapping[str, Field], request: HttpRequest, *, always: Collection[str] = (), in_windows: bool = True
) -> None:
    """Explain the fields without choices. `always`: names of fields that may always add a row. `in_windows`: whether
    the page can choose a row that was added in a window of Django's admin."""
    for name, field in fields.items():
        queryset: Any = getattr(field, "queryset", None)
        if queryset is None or queryset.model._meta.label not in EMPTY_SELECT_HELP:
            continue
        if field.disabled or field.widget.is_hidden or isinstance(field.widget, HelpBelowMixin):
            continue
        is_empty = not queryset.exists()
        if is_empty or name in always:
            kind = type(field.widget)
            field.widget.__class__ = type(kind.__name__, (HelpBelowMixin, kind), {})
            field.widget.help = describe_empty_select(queryset.model, request, is_empty=is_empty, in_windows=in_windows)
            if field.widget.help["add_url"]:  # instead of Django's plus
                field.widget.can_add_related = False


def render_help(help: Mapping[str, Any], field: str) -> SafeString:
    """Render what describe_empty_select returns. `field`: the id of the select."""
    return render_to_string("admin/_way_out.html", {**help, "id": field})


def describe_empty_select(
    model: Any, request: HttpRequest, *, is_empty: bool, in_windows: bool = True
) -> dict[str, Any]:
    """Return the context of admin/_way_out.html for a model of EMPTY_SELECT_HELP."""
    help, person = EMPTY_SELECT_HELP[model._meta.label], request.user
    may_add = help.add and admin.site.get_model_admin(model).has_add_permission(request)
    add_url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add") if may_add else ""
    page_url, label = _find_page(help, request) if is_empty else ("", "")
    # Whether rows exist that the person may not see; of companies, only whether the person's view of them is limited.
    is_hidden = is_empty and bool(help.hidden)
    if is_hidden:
        is_hidden = bool(corp_condition(person) if model is Corp else model.objects.hidden_from(person).exists())
    why = help.hidden if is_hidden else help.why
    if is_empty and help.unfit and model.objects.exists():
        why = help.unfit
    ask = ""
    if is_empty and not add_url and not page_url:
        # Who can add rows here; for companies, or if rows are hidden, only who manages all companies (the empty tuple).
        permission = help.permission if help.page else f"{model._meta.app_label}.add_{model._meta.model_name}"
        permission = "accounts.change_user" if model is Corp and is_hidden else permission  # to assign one
        ask = hooks.people().describe_contacts(person, permission, () if is_hidden or model is Corp else None)
    return {
        "why": why if is_empty else "",
        "add": help.add,
        "add_url": add_url,
        "page_url": page_url,
        "page_label": label,
        "in_windows": in_windows,
        "ask": ask,
    }


def _find_page(help: EmptySelectHelp, request: HttpRequest) -> tuple[str, StrOrPromise]:
    """Return the page's address and label, empty without permission. The synchronisation is that of the first enabled
    company; without one, the page connects a company."""
    page, permission, label, keys = help.page, help.permission, help.label, []
    if page == SYNC_PAGE[0]:
        corp = Corp.objects.visible_to(request.user).filter(is_enabled=True).order_by("pk").first()
        if corp is None:
            page, permission, label = COMPANY_PAGE
        else:
            keys = [corp.pk]
    if not page or not request.user.has_perm(permission):
        return "", ""
    return reverse(f"admin:{page}", args=keys), label
