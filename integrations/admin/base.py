"""Shared parts of admin pages: states, pages beside Django's, base classes of admins, form fields, secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlsplit

from django import forms
from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import TextChoices
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.core import validators
from integrations.core.admin_pages import AnyModelAdmin, AnyModelForm, explain_empty_selects
from integrations.models import BiConnection, Corp, SiteAddress
from integrations.models.fields import UNREADABLE_NOTE, Unreadable, corp_condition

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django_stubs_ext import StrOrPromise


View = Callable[..., HttpResponseBase]
ONE_SAVE_BUTTON = {"show_save_and_add_another": False, "show_save_and_continue": False}


def show_toned_text(tone: str, text: object) -> SafeString:
    """Render a text behind a dot in the colour of `tone`: good, next, busy, warn, bad or quiet."""
    return format_html('<span class="pill pill-{}">{}</span>', tone, text)


class State(TextChoices):
    """The eight states that pages show. `tone`: the name of its colour."""

    FINE = "fine", pgettext_lazy("state", "in order")
    WAITING = "waiting", pgettext_lazy("state", "waiting")
    RUNNING = "running", pgettext_lazy("state", "in progress")
    DONE = "done", pgettext_lazy("state", "done")
    PARTLY = "partly", pgettext_lazy("state", "partly delivered")
    FAILED = "failed", pgettext_lazy("state", "failed")
    PAUSED = "paused", pgettext_lazy("state", "paused")
    DISABLED = "disabled", pgettext_lazy("state", "disabled")

    @property
    def tone(self) -> str:
        tones = ("good", "next", "busy", "good", "warn", "bad", "warn", "quiet")
        return tones[list(State).index(self)]


def show_state(state: State, detail: object = "", tone: str = "") -> SafeString:
    """Render the state, followed by `detail` in small letters. `tone`: in place of the state's own."""
    rendered = show_toned_text(tone or state.tone, state.label)
    return format_html('{} <span class="meta">{}</span>', rendered, detail) if detail else rendered


# The state for each status of a row or tone of a summary. show_status adds words to the states of the second table.
_STATES = {
    **{"ok": State.FINE, "done": State.DONE, "failed": State.FAILED, "wrong": State.FAILED},
    **dict.fromkeys(("accepted", "delivered"), State.DONE),
    **dict.fromkeys(("waiting", "pending"), State.WAITING),
    **dict.fromkeys(("running", "sending", "confirmed"), State.RUNNING),
}
_STATES_WITH_DETAIL = {
    **{"good": State.FINE, "busy": State.RUNNING},
    **dict.fromkeys(("overtaken", "discarded", "repeated", "left_out", "noted", "without_file"), State.DONE),
    **dict.fromkeys(("preparing", "asking", "warning", "warn", "skipped", "quiet"), State.WAITING),
}


def show_status(status: str, words: object) -> SafeString:
    """Render the state of a row's status or a summary's tone, followed by `words` if the state says too little."""
    state = _STATES.get(status) or _STATES_WITH_DETAIL.get(status, State.FAILED)
    tone = "warn" if status in {"warning", "warn"} else ""
    return show_state(state, "" if status in _STATES or words == state.label else words, tone)


@dataclass(frozen=True)
class RowAction:
    """An action in the last column of a list. `icon`: its symbol in row-icons.svg. `posts`: whether a click
    acts at once, by POST with `field` (name and value); otherwise it opens `url`, a page that asks before a change."""

    icon: str
    label: StrOrPromise
    url: str
    posts: bool = False
    field: tuple[str, str] = ("", "")


def show_page(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    template: str | list[str],
    context: dict[str, Any],
    *,
    status: int = 200,
) -> TemplateResponse:
    """Render a page that Django's admin does not have. The template extends admin/page.html."""
    request.current_app = model_admin.admin_site.name  # as Django's own admin views do
    for form in context.values():
        if isinstance(form, BaseForm):
            form.label_suffix = ""
            explain_empty_selects(form.fields, request, in_windows=False)
    common = {**model_admin.admin_site.each_context(request), "opts": model_admin.opts, "media": model_admin.media}
    return TemplateResponse(request, template, {**common, **context}, status=status)


def fold_fields(title: StrOrPromise, *fields: str) -> tuple[StrOrPromise, Any]:
    """Return a fieldset that is folded when the page opens."""
    return title, {"classes": ["collapse"], "fields": fields}


def hide_related_links(form: Any, *names: str) -> None:
    """Hide Django's links to add, change, view and delete beside these selects of a form class."""
    for name in form.base_fields.keys() & set(names):
        widget = form.base_fields[name].widget
        widget.can_add_related = widget.can_change_related = False
        widget.can_view_related = widget.can_delete_related = False


def make_routes(model_admin: AnyModelAdmin, views: Mapping[tuple[str, str], Any]) -> list[URLPattern]:
    """Return routes below the URL of the model's list. `views`: (path, end of the route's name) → view."""
    wrap, model = model_admin.admin_site.admin_view, f"{model_admin.opts.app_label}_{model_admin.opts.model_name}"
    return [path(end, wrap(view), name=f"{model}_{name}") for (end, name), view in views.items()]


def find_row(model_admin: AnyModelAdmin, request: HttpRequest, pk: int | str, *, to_change: bool) -> Any:
    """Return the row with this key. Raises Http404 if the person may not see it, PermissionDenied without permission
    to view or change such rows."""
    row = model_admin.get_object(request, str(pk))
    if row is None:
        raise Http404
    allowed = model_admin.has_change_permission if to_change else model_admin.has_view_permission
    if not allowed(request, row):
        raise PermissionDenied
    return row


class FixedRowsAdmin(AnyModelAdmin):
    """Admin of rows that the application creates: nobody adds or deletes one."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(FixedRowsAdmin):
    """Admin of rows that may only be viewed."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OneRowAdmin(FixedRowsAdmin):
    """The page of a model with one row (pk 1) for the whole site, only for people who see all companies. The list
    redirects to it."""

    actions = None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and not corp_condition(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not corp_condition(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_or_change_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            return super().changelist_view(request, extra_context)
        row, _is_new = self.model._default_manager.get_or_create(pk=1)
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", row.pk)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {**ONE_SAVE_BUTTON, "is_one_row": True, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:index"))


class CorpPages(AnyModelAdmin):
    """Base of the parts of CorpAdmin."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Load the default site address as well, which many parts of the page need."""
        corp = super().get_object(request, object_id, from_field)
        if corp is not None and corp.site_address is None:
            corp.default_address = SiteAddress.objects.default()
        return corp

    def _redirect_to_page(self, corp: Corp, section: str = "") -> HttpResponseRedirect:
        """Redirect to the corp's page instead of the list, because it shows the next step."""
        address = reverse("admin:integrations_corp_change", args=[corp.pk])
        return HttpResponseRedirect(f"{address}#{section}" if section else address)


class NamedDeletions(AnyModelAdmin):
    """Admin whose page before a deletion leaves out rows without a readable name: those of automatic many-to-many
    tables and of `unlisted` models."""

    unlisted: tuple[str, ...] = ()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        listed, counts, *more = cast("tuple[Any, ...]", super().get_deleted_objects(objs, request))
        found = [model._meta for model in apps.get_models(include_auto_created=True)]
        hidden = [options for options in found if options.auto_created or options.label in self.unlisted]
        beginnings = tuple(f"{capfirst(options.verbose_name)}: " for options in hidden)  # Django writes “Model: row”
        plurals = {str(options.verbose_name_plural) for options in hidden}
        kept = {name: count for name, count in counts.items() if str(name) not in plurals}
        return _drop_texts_beginning_with(listed, beginnings), kept, *more


def _drop_texts_beginning_with(listed: list[Any], beginnings: tuple[str, ...]) -> list[Any]:
    """Return the nested list without texts that start with one of `beginnings` and without lists that become empty."""
    kept: list[Any] = []
    for item in listed:
        if isinstance(item, list):
            if inner := _drop_texts_beginning_with(item, beginnings):
                kept.append(inner)
        elif not str(item).startswith(beginnings):
            kept.append(item)
    return kept


class SecretsAdmin(AnyModelAdmin):
    """Admin that disables the fields that a person may not change, and hides write-only fields from people who may
    change nothing. The form is a SecretsMixin."""

    def find_withheld(self, request: HttpRequest, obj: Any) -> Mapping[str, StrOrPromise]:
        """Map the fields that this person may not change to the reasons ("" for none). `obj`: None for a new row."""
        raise NotImplementedError

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        known = {*(column.name for column in self.opts.fields), *dir(self)}
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name in known]})
            for title, options in fieldsets
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.withheld = self.find_withheld(request, obj)
        return form


class WriteOnlyInput(forms.PasswordInput):
    """An input that never shows the stored value, nor the typed one after an error."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"autocomplete": "new-password", "class": "vTextField", **(attrs or {})}, render_value=False)


class VisibleWriteOnlyInput(WriteOnlyInput):
    """A write-only input that shows the text while it is typed."""

    input_type = "text"


class TidyField(forms.CharField):
    """Text without invisible characters, which are often copied from web pages and chats."""

    tidy: Callable[[str], str] = staticmethod(validators.remove_invisible)

    def to_python(self, value: Any) -> str | None:
        return super().to_python(self.tidy(value) if isinstance(value, str) else value)


class CompactField(TidyField):
    """Text without spaces and invisible characters, for ids and secrets."""

    tidy = staticmethod(validators.remove_spaces)


class NumberField(forms.IntegerField):
    """A number from which spaces and invisible characters are removed."""

    widget = forms.TextInput
    default_error_messages = {"invalid": _("Write a whole number, such as 1000002.")}

    def to_python(self, value: Any) -> int | None:
        return super().to_python(validators.remove_spaces(value) if isinstance(value, str) else value)


class ListField(forms.CharField):
    """The field of a JSON column with a list, as one line of text. `parse`: makes the list; raises ValidationError."""

    parse: Callable[[str], list[Any]]
    separator = ", "

    def __init__(self, *, encoder: object = None, decoder: object = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> list[Any]:  # type: ignore[override]  # a list is what the column holds
        return self.parse(value or "")

    def prepare_value(self, value: Any) -> Any:
        return self.separator.join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or []) != self.to_python(data))
        except ValidationError:
            return True


class DepartmentIdsField(ListField):
    """Department ids, separated by commas."""

    parse = staticmethod(validators.parse_department_ids)


class CertificatesField(forms.CharField):
    """Certificates of a private CA, in PEM."""

    default_validators = [validators.validate_certificates]


class SecretsMixin(AnyModelForm):
    """Form with write-only fields, and with fields that the person may not change. `secrets`: by field, the column and
    the checkbox that clears it ("" for none). `withheld`: the result of SecretsAdmin.find_withheld."""

    secrets: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType({})
    withheld: Mapping[str, StrOrPromise] = MappingProxyType({})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.withheld.keys() & self.fields.keys():
            self.fields[name].disabled = True
            self.fields[name].help_text = self.withheld[name] or self.fields[name].help_text

    def describe_secret(
        self, name: str, *, saved: StrOrPromise, empty: StrOrPromise = "", hint: StrOrPromise = ""
    ) -> None:
        """Set the help text: `saved` if a secret is stored, a note if it is unreadable, else `empty`; an empty text
        keeps the help text. A disabled field keeps its help text, which says why it is disabled, and shows `hint` in
        place of the secret. Hide the checkbox if nothing is stored or the field is disabled."""
        column, checkbox = self.secrets[name]
        if name not in self.fields:
            return
        field, stored = self.fields[name], getattr(self.instance, column)
        about = UNREADABLE_NOTE if isinstance(stored, Unreadable) else saved if stored else empty
        if field.disabled:
            hint = UNREADABLE_NOTE if isinstance(stored, Unreadable) else hint or _("saved, never shown")
            field.widget.attrs["placeholder"] = hint if stored else _("not entered")
        else:
            field.help_text = about or field.help_text
        if checkbox in self.fields and (field.disabled or not stored):
            self.fields[checkbox].widget, self.fields[checkbox].label = forms.HiddenInput(), ""
            self.fields[checkbox].disabled = field.disabled

    def changes_secret(self, name: str) -> bool:
        """Return whether the form sets or clears the secret of this field."""
        return any(self.cleaned_data.get(key) for key in (name, self.secrets[name][1]))

    def require_secrets_again(self, *names: str) -> None:
        """Refuse the form unless it sets or clears each of these secrets that is stored."""
        for name in names:
            if getattr(self.instance, self.secrets[name][0]) and not self.changes_secret(name):
                self.add_error(name, _("Paste it again: with this change it would be sent another way."))

    def store_secrets(self) -> None:
        """Copy new secrets to the instance, since they are no fields of the model."""
        for name, (column, _checkbox) in self.secrets.items():
            if self.changes_secret(name):
                setattr(self.instance, column, self.cleaned_data.get(name) or "")

    def list_changed_columns(self) -> set[str]:
        """Return the names of the columns that this form changes."""
        columns = {column.name for column in self.instance._meta.fields}.intersection(self.changed_data)
        return columns | {column for name, (column, _checkbox) in self.secrets.items() if self.changes_secret(name)}


class ProxyMixin(SecretsMixin):
    """Form with a proxy URL, which may hold a password: only host and port are shown."""

    new_proxy_url = forms.CharField(label=capfirst(_("proxy")), required=False, widget=VisibleWriteOnlyInput)
    remove_proxy = forms.BooleanField(label=capfirst(_("remove the saved proxy")), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "new_proxy_url" in self.fields:
            saved = _("Saved: %(proxy)s. Leave this empty to keep it.") % {"proxy": format_saved_proxy(self.instance)}
            usual = self.instance._meta.get_field("proxy_url").help_text
            self.describe_secret("new_proxy_url", saved=saved, empty=usual, hint=format_saved_proxy(self.instance))

    def sends_secrets_elsewhere(self, *columns: str) -> bool:
        """Return whether a change of the proxy or of `columns` would send stored secrets another way. The caller then
        requires them again, because people who may change the row could send the secrets to a server of their own."""
        changed = self.cleaned_data.keys() & set(columns).intersection(self.changed_data)
        is_moved = any(self.cleaned_data[name] != getattr(self.instance, name) for name in changed)
        return is_moved or bool(self.cleaned_data.get("new_proxy_url"))

    def clean_new_proxy_url(self) -> str:
        proxy: str = self.cleaned_data["new_proxy_url"]
        return validators.normalise_proxy_url(proxy) if proxy else ""


def format_saved_proxy(row: Corp | BiConnection) -> _StrPromise | str:
    """Return host and port of the saved proxy, without its password."""
    if isinstance(row.proxy_url, Unreadable):
        return UNREADABLE_NOTE
    parts = urlsplit(row.proxy_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
