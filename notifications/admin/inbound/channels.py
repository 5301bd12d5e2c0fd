"""Admin pages of inbound channels: their address and secret, the people they reach, and what came in."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from integrations.admin.base import own_page, pill
from integrations.core.generics import AnyModelAdmin
from integrations.core.reauthentication import ConfirmedChanges
from notifications.admin.base import RecipientsMixin, for_person
from notifications.admin.inbound.form import ChannelForm, NewChannelForm
from notifications.inbound import channels
from notifications.models import InboundChannel


@admin.register(InboundChannel)
class InboundChannelAdmin(ConfirmedChanges, RecipientsMixin, AnyModelAdmin):
    empty_list = _(
        "With an inbound channel another system sends messages to people in WeCom: by a call to an address, or by "
        "mail. It reaches only people whom its owner may reach."
    )
    list_display = ("name", "kind", "owner", "state", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "public_id")
    autocomplete_fields = ("users",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundChannel]:
        return InboundChannel.objects.visible_to(request.user)

    def get_urls(self) -> list[URLPattern]:
        renew = self.admin_site.admin_view(require_POST(self.renew_secret_view))
        return [path("<int:pk>/secret/", renew, name="notifications_inboundchannel_secret"), *super().get_urls()]

    def get_form(
        self, request: HttpRequest, obj: InboundChannel | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = NewChannelForm if obj is None else ChannelForm
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, ["corp", "users"])

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, channel: InboundChannel) -> SafeString:
        if not (channel.owner.is_active and channel.owner.is_staff):
            return pill("bad", gettext("its owner was disabled"))
        return pill("good", gettext("enabled")) if channel.is_enabled else pill("quiet", gettext("not enabled"))

    # --- The secret: shown once, on the answer itself, which no browser keeps -----------------------------------------

    def save_model(self, request: HttpRequest, obj: InboundChannel, form: Any, change: bool) -> None:
        if not change:
            # For response_add alone, which shows it: nothing keeps it.
            obj.shown_secret = channels.renew_secret(obj)  # type: ignore[attr-defined]  # see above
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: InboundChannel, post_url_continue: str | None = None
    ) -> HttpResponse:
        secret: str = obj.shown_secret  # type: ignore[attr-defined]  # set by save_model
        return self._secret_page(request, obj, secret)

    def renew_secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Another secret in place of the one that got lost or known."""
        channel = self._changeable(request, pk)
        secret = channels.renew_secret(channel)
        channel.save(update_fields=["secret", "digest"])
        self.log_change(request, channel, gettext("Gave it another secret."))
        return self._secret_page(request, channel, secret)

    def _secret_page(self, request: HttpRequest, channel: InboundChannel, secret: str) -> HttpResponse:
        context = {
            "title": gettext("Address and secret"),
            "channel": channel,
            "secret": secret,
            "address": request.build_absolute_uri(f"/in/{channel.public_id}"),
        }
        return own_page(self, request, "admin/notifications/inboundchannel/secret.html", context)

    def _changeable(self, request: HttpRequest, pk: int) -> InboundChannel:
        """A visible channel that the person may change; else 403 or 404."""
        channel = self.get_queryset(request).filter(pk=pk).first()
        if channel is None:
            raise Http404
        if not self.has_change_permission(request, channel):
            raise PermissionDenied
        return channel
