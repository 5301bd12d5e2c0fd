"""Admin pages of link requests: who asks, and the user to link with."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from accounts.admin.directory import CompanyFilter
from accounts.directory import link_requests
from accounts.models import LinkRequest
from accounts.users.scopes import people_changeable_by
from integrations.core.generics import AnyModelAdmin, AnyModelForm
from integrations.core.paginator import CappedPaginator
from integrations.core.reauthentication import ConfirmedChanges
from integrations.models import Member


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("not linked yet"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LinkRequest]) -> QuerySet[LinkRequest]:
        return queryset.open() if self.value() == "open" else queryset  # type: ignore[attr-defined]  # LinkRequest's own


class LinkRequestForm(AnyModelForm):
    """Saving it links: LinkRequestAdmin.save_model gives the account to the user chosen."""

    class Meta:
        model = LinkRequest
        fields = ("user",)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        user = cleaned.get("user")
        if user is None:
            self.add_error("user", _("Choose the user to link this WeCom account with."))
        elif reason := link_requests.reason_against(request=self.instance, user=user):
            self.add_error("user", reason)
        return cleaned


@admin.register(LinkRequest)
class LinkRequestAdmin(ConfirmedChanges, AnyModelAdmin):
    """Linked by those who may change people's accounts, with people whom they may change."""

    form = LinkRequestForm
    empty_list = _("Whoever comes from WeCom and is nobody here yet stands here, to be linked with a user.")
    list_display = ("userid", "corp", "requested_at", "request_count", "user")
    list_display_links = ("userid",)
    list_filter = (StateFilter, CompanyFilter)
    list_select_related = ("corp", "user")
    search_fields = ("userid_folded__startswith",)
    search_help_text = _("WeCom account from its beginning")
    fields = ("corp", "userid", "known_as", "first_requested_at", "requested_at", "request_count", "user")
    readonly_fields = ("corp", "userid", "known_as", "first_requested_at", "requested_at", "request_count")
    autocomplete_fields = ("user",)
    actions = None
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: LinkRequest | None = None) -> bool:
        return super().has_change_permission(request, obj) and request.user.has_perm("accounts.change_wecomaccount")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LinkRequest]:
        return LinkRequest.objects.visible_to(request.user)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user":
            kwargs["queryset"] = people_changeable_by(request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(
        self, request: HttpRequest, obj: LinkRequest | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[LinkRequest]]:
        """The user's field leads to nobody else's pages: people are created and changed in their own place."""
        form = super().get_form(request, obj, change, **kwargs)
        field = form.base_fields.get("user")
        for right in ("can_add_related", "can_change_related", "can_delete_related", "can_view_related"):
            if field is not None:
                setattr(field.widget, right, False)
        return form

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Raised outside save_model: otherwise Django would report and log a save that was given up."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except link_requests.LinkRefused as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: LinkRequest, form: Any, change: bool) -> None:
        """Only the user was asked for, so only that is written; somebody else may have linked the account just now."""
        if obj.user is not None:
            link_requests.link(request=obj, user=obj.user)
        obj.save(update_fields=["user"])

    @admin.display(description=_("name in the directory"))
    def known_as(self, link_request: LinkRequest) -> str:
        """As the copied directory has it; the person is not asked for a name, which anybody could invent."""
        member = Member.objects.filter(corp=link_request.corp_id).with_userid(link_request.userid).first()
        return member.name if member is not None and member.name else "—"
