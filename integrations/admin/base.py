"""Shared by the pages of the admin that are not Django's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from integrations.core.generics import AnyModelAdmin
from integrations.core.ways_out import offer_ways
from integrations.models import Corp
from integrations.models.scoping import corp_condition

View = Callable[..., HttpResponseBase]
ONE_SAVE_BUTTON = {"show_save_and_add_another": False, "show_save_and_continue": False}


def pill(tone: str, text: object) -> SafeString:
    """A status: a word with a colour."""
    return format_html('<span class="pill pill-{}">{}</span>', tone, text)


def own_page(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    template: str | list[str],
    context: dict[str, Any],
    *,
    status: int = 200,
) -> TemplateResponse:
    """A page of `model_admin` by a template that extends admin/page.html."""
    request.current_app = model_admin.admin_site.name  # as Django's own admin views do
    for form in filter(lambda one: isinstance(one, BaseForm), context.values()):
        offer_ways(form.fields, request, in_windows=False)
    whole = {**model_admin.admin_site.each_context(request), "opts": model_admin.opts, **context}
    return TemplateResponse(request, template, whole, status=status)


class FixedRows(AnyModelAdmin):
    """Rows that the product makes: nobody adds or deletes one."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadRows(FixedRows):
    """Rows that one only reads."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OneRowAdmin(FixedRows):
    """The page of a model of one row, whose key is 1, for the whole site: for those alone who see all companies. Its
    list leads straight to it."""

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
        return HttpResponseRedirect(
            reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])
        )

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().changeform_view(request, object_id, form_url, {**ONE_SAVE_BUTTON, **(extra_context or {})})

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:index"))


class CorpPages(AnyModelAdmin):
    """A part of CorpAdmin with views of its own."""

    def _routes(self, views: Mapping[tuple[str, str], View]) -> list[URLPattern]:
        """The routes of views of one corp, each by the path below the corp's and the end of the route's name."""
        wrapped = self.admin_site.admin_view
        return [
            path(f"<int:corp_id>/{end}", wrapped(view), name=f"integrations_corp_{name}")
            for (end, name), view in views.items()
        ]

    def _corp(self, request: HttpRequest, corp_id: int, *, to_change: bool) -> Corp:
        """The corp, if the person may see it (else 404), and may see or change corps (else 403)."""
        corp: Corp | None = self.get_object(request, str(corp_id))
        if corp is None:
            raise Http404
        allowed = self.has_change_permission if to_change else self.has_view_permission
        if not allowed(request, corp):
            raise PermissionDenied
        return corp

    def _to_page(self, corp: Corp, section: str = "") -> HttpResponseRedirect:
        """Back to the corp's page and not to the list: the next step stands there."""
        address = reverse("admin:integrations_corp_change", args=[corp.pk])
        return HttpResponseRedirect(f"{address}#{section}" if section else address)


# --- What a deletion takes along, as the admin's page of confirmation lists it ---


class NamedDeletions(AnyModelAdmin):
    """Leaves out the rows that only join two others, which Django makes and cannot name: each end is gone anyway."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        listed, counts, *more = cast("tuple[Any, ...]", super().get_deleted_objects(objs, request))
        joining = [model._meta for model in apps.get_models(include_auto_created=True) if model._meta.auto_created]
        beginnings = tuple(f"{capfirst(options.verbose_name)}: " for options in joining)
        plurals = {str(options.verbose_name_plural) for options in joining}
        kept = {name: count for name, count in counts.items() if str(name) not in plurals}
        return _without(listed, beginnings), kept, *more


def _without(listed: list[Any], beginnings: tuple[str, ...]) -> list[Any]:
    """The nested list without its texts that begin so, and without lists that are empty then."""
    found: list[Any] = []
    for one in listed:
        if isinstance(one, list):
            if inner := _without(one, beginnings):
                found.append(inner)
        elif not str(one).startswith(beginnings):
            found.append(one)
    return found
