"""The admin site: Django's with our name and index, lists without full counts, and readable histories."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import FieldDoesNotExist
from django.http import JsonResponse
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import path, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, override, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.users.roles import describe_contacts, sees_all
from accounts.views import account, confirmation
from accounts.views.account import OwnPasswordView
from accounts.views.login import AdminLogin
from guanwecom import navigation
from guanwecom.operations import pages
from guanwecom.operations.pages import build_panel
from integrations.core import sentences
from integrations.core.admin_pages import NATIVE_DATES, CappedPaginator, explain_empty_selects, label_empty_choice
from integrations.hooks import SingleProvider
from integrations.models import BiConnection, Corp, SiteAddress
from notifications.views import media
from notifications.views.overview import list_steps, search_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.forms import BaseForm
    from django.http import HttpRequest, HttpResponse
    from django.template.response import TemplateResponse

    ModelAdminBase = admin.ModelAdmin[Any]
else:
    ModelAdminBase = object

# Registered by guanwecom.urls, since the modules it needs import this one.
index_overview: SingleProvider[Callable[[HttpRequest], dict[str, Any]]] = SingleProvider()
# Options of every list, against slow counts: a facet counts the whole table for each choice of each filter.
LIGHT_LISTS = {
    "paginator": CappedPaginator,
    "show_full_result_count": False,
    "show_facets": admin.ShowFacets.NEVER,
}


# URL names of pages where one of the six first steps ends or begins. They show the steps until all are done.
STEP_PAGES = frozenset(
    {
        "integrations_siteaddress_changelist",
        "integrations_corp_changelist",
        "integrations_corp_change",
        "integrations_syncrun_start",
        "integrations_syncrun_change",
        "accounts_peopleimport_change",
        "integrations_biconnection_change",
        "integrations_datasource_changelist",
        "integrations_card_changelist",
        "notifications_subscription_changelist",
        "notifications_run_change",
    }
)


class TranslatedHistoryMixin(ModelAdminBase):
    """Mixin for a history that names changed fields in the reader's language. Django stores a field's label, such as
    "Full name", and translates it when shown; but the catalogues have "full name"."""

    def construct_change_message(
        self, request: HttpRequest, form: BaseForm, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        message: list[dict[str, Any]] = super().construct_change_message(request, form, formsets, add)  # type: ignore[arg-type]  # the stubs name one kind of form
        catalogue_texts: dict[str, str] = {}  # by the label as Django stores it
        for each_form in [form, *(row for formset in formsets or () for row in formset.forms)]:
            for name, field in each_form.fields.items():
                with override(None):
                    label = str(field.label or name)
                with override(settings.LANGUAGE_CODE):
                    translation = capfirst(str(field.label or name))
                    candidates = (label, label[:1].lower() + label[1:])
                    catalogue_texts[label] = next((t for t in candidates if capfirst(gettext(t)) == translation), label)
        for entry in message:
            for part in entry.values():
                if "fields" in part:
                    part["fields"] = [catalogue_texts.get(label, label) for label in part["fields"]]
        return message


class LimitedLookupsMixin(ModelAdminBase):
    """Mixin for a list that can be filtered only by columns that it shows, or by a relation to another row. Otherwise
    `?digest__startswith=…` would reveal a secret letter by letter."""

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        is_allowed: bool = super().lookup_allowed(lookup, value, request)
        name = lookup.split("__")[0]
        try:
            column = self.opts.get_field(name)
        except FieldDoesNotExist:  # a filter's parameter, or an unknown one
            return is_allowed
        shown_columns = {self.date_hierarchy, *self.get_list_display(request), *self.get_search_fields(request)}
        for list_filter in self.get_list_filter(request):
            parameter: Any = getattr(list_filter, "parameter_name", list_filter)
            if isinstance(list_filter, list | tuple):
                parameter = list_filter[0]
            shown_columns |= {str(each).split("__")[0] for each in getattr(list_filter, "selects", [parameter])}
        is_shown = column.is_relation or bool(getattr(column, "primary_key", False)) or name in shown_columns
        return is_shown and is_allowed


def _render_first_steps(request: HttpRequest, page: str) -> str:
    """Render the first steps as HTML; empty once all are done. A button is left out on and below its target page."""
    steps = [(step, bool(step.url) and page.startswith(step.url)) for step in list_steps(request)]
    return render_to_string("admin/_first_steps.html", {"steps": steps}) if steps else ""


def first_steps_view(request: HttpRequest) -> JsonResponse:
    """Return the first steps as JSON, for pages that stay open while a step ends. Parameter `page`: the page's path."""
    html = _render_first_steps(request, request.GET.get("page", ""))
    return JsonResponse({"html": html, "is_unfinished": bool(html)})


class HelpfulPagesMixin(ModelAdminBase):
    """Mixin for pages that say how to go on. A form explains an empty select, with a link to the page that fills it. A
    page names people to ask if the user may view but not change or add."""

    formfield_overrides: ClassVar = NATIVE_DATES

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return label_empty_choice(super().formfield_for_dbfield(db_field, request, **kwargs))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Use checkboxes instead of Django's multiple select, which needs the Control key."""
        if "widget" not in kwargs and db_field.name not in self.get_autocomplete_fields(request):
            kwargs["widget"] = forms.CheckboxSelectMultiple
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_action_choices(self, request: HttpRequest, default_choices: Any = None) -> list[tuple[str, str]]:
        return super().get_action_choices(request, default_choices or [("", gettext("Choose an action"))])

    def get_list_display(self, request: HttpRequest) -> Any:
        """Add a last column with the actions of each row, if the admin has `list_row_actions`."""
        columns = super().get_list_display(request)
        find_actions = getattr(self, "list_row_actions", None)
        if find_actions is None or IS_POPUP_VAR in request.GET:
            return columns

        icons = static("guanwecom/row-icons.svg")

        def row_actions(row: Any) -> SafeString:
            """Render a row's links and buttons, without a template, since a list has hundreds."""
            buttons = []
            for action in find_actions(request, row):
                tag, url_attribute = ("button", "formaction") if action.posts else ("a", "href")
                field = format_html(' name="{}" value="{}"', *action.field) if action.field[0] else ""
                buttons.append(
                    format_html(
                        '<{0} class="row-action" {1}="{2}"{3} title="{4}" aria-label="{4}: {5}">'
                        '<svg aria-hidden="true"><use href="{6}#{7}"></use></svg></{0}>',
                        *(tag, url_attribute, action.url, field, action.label, row, icons, action.icon),
                    )
                )
            return SafeString("".join(buttons))

        row_actions.short_description = _("actions")  # type: ignore[attr-defined]  # Django's list reads it
        return [*columns, row_actions]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        explain_empty_selects(context["adminform"].form.fields, request)
        context["adminform"].form.label_suffix = ""
        for inline in context["inline_admin_formsets"]:
            inline.formset.form_kwargs = {**inline.formset.form_kwargs, "label_suffix": ""}  # for the empty row
            explain_empty_selects(inline.formset.form.base_fields, request)
            for form in inline.formset.forms:
                explain_empty_selects(form.fields, request)
                form.label_suffix = ""
        row = context.get("original")
        if row is not None and not self.has_change_permission(request, row):
            context["ask"] = self._explain_missing_right(request, "change", row)
        return super().render_change_form(request, context, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        extra = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        if self.has_add_permission(request):
            extra["empty_add_url"] = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_add")
        else:
            extra["ask"] = self._explain_missing_right(request, "add", None)
        return super().changelist_view(request, extra)

    def _explain_missing_right(self, request: HttpRequest, verb: str, row: Any) -> str:
        """Say whom the user may ask to add to the list or to change `row`; empty if there is nobody to name."""
        permission = f"{self.opts.app_label}.{verb}_{self.opts.model_name}"
        has_permission = request.user.has_perm(permission)
        if has_permission and sees_all(request.user):
            return ""
        # Companies whose administrators may change the row; None: unknown. Empty: ask administrators of all companies.
        # They alone may change it, or assign a company to a user who has the permission but no company.
        corps: list[int] | tuple[()] | None = ()
        if not has_permission and isinstance(row, Corp):
            corps = [row.pk]
        elif not has_permission and not isinstance(row, BiConnection | SiteAddress):
            owners = (row, getattr(row, "report", None), getattr(row, "source", None))
            owner: Any = next((each for each in owners if hasattr(each, "corp_id")), None)
            corps = None if owner is None else () if owner.corp_id is None else [owner.corp_id]
        advice = describe_contacts(request.user, permission, corps)
        if not advice:
            return ""
        if row is None:
            return gettext("You may not add to this list. %(ask)s") % {"ask": advice}
        return gettext("You may look at this, but not change it. %(ask)s") % {"ask": advice}


class GuanwecomAdminSite(admin.AdminSite):
    site_header = _("guanwecom · Guandata × WeCom")
    site_title = _("guanwecom")
    index_title = pgettext_lazy("menu", "Overview")
    index_template = "admin/overview.html"
    empty_value_display = "—"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        bases = (TranslatedHistoryMixin, LimitedLookupsMixin, HelpfulPagesMixin, admin_class or admin.ModelAdmin)
        combined = type("CombinedAdmin", bases, {})
        super().register(model_or_iterable, combined, **{**LIGHT_LISTS, **options})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        menu = navigation.build_menu(self, request)
        tabs = menu.place.entry.tabs if menu.place else ()
        match = request.resolver_match
        has_steps = match is not None and match.url_name in STEP_PAGES
        return {
            **super().each_context(request),
            "menu": menu.sections,
            # The tabs above a list, if the current menu entry has several.
            "tabs": tabs if len(tabs) > 1 and request.path in {tab.url for tab in tabs} else (),
            "place": menu.place,
            "guides": sentences.find_guide_address("index"),
            "first_steps": _render_first_steps(request, request.path) if has_steps else "",
        }

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Defer Django's list of apps, a tenth of a page's time. Our templates show `menu` instead."""
        return SimpleLazyObject(partial(super().get_app_list, request, app_label))

    def get_urls(self) -> list[Any]:
        own_urls = [
            path("first-steps/", self.admin_view(first_steps_view), name="first-steps"),
            path(
                "notifications/preview/<str:token>/",
                self.admin_view(media.answer_preview_state),
                name="notifications_preview",
            ),
            path(
                "notifications/preview/<str:token>.<str:extension>",
                self.admin_view(media.serve_preview_file),
                name="notifications_preview_file",
            ),
            path("search/", self.admin_view(partial(search_page, site=self)), name="search"),
            path("confirm/", self.admin_view(confirmation.show_confirmation), name="confirm"),
            path("installation/confirm/", self.admin_view(pages.confirm_installation), name="installation-confirm"),
            path("maintenance/", self.admin_view(pages.show_operation), name="maintenance"),
            path("maintenance/support/", self.admin_view(pages.download_support_bundle), name="support-bundle"),
            path("second-factor/", self.admin_view(account.manage_authenticator_app), name="second-factor"),
            path("second-factor/code/", self.admin_view(account.ask_for_code), name="second-factor-code"),
        ]
        return [*own_urls, *super().get_urls()]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(
            request,
            {"overview": index_overview()(request), "engine": build_panel(request.user), **(extra_context or {})},
        )

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show our login page, so that administrators can also sign in with WeCom."""
        return cast("HttpResponse", AdminLogin.as_view(admin_site=self)(request))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show Django's page for changing one's password, with our limit on wrong passwords."""
        request.current_app = self.name  # as Django's own view does
        context = {**self.each_context(request), **(extra_context or {})}
        return cast("TemplateResponse", OwnPasswordView.as_view(extra_context=context)(request))
