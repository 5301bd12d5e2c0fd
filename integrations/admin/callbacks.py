"""Callback section of a company's admin page: what to enter in WeCom's console, and which events came."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations.admin.base import CorpPages, own_page
from integrations.admin.form_fields import CompactField, VisibleWriteOnlyInput
from integrations.clients.errors import UnreadableSecretError
from integrations.clients.wecom.callbacks import CallbackCrypto, decode_key
from integrations.companies import callbacks
from integrations.core.client_factory import callback_crypto
from integrations.models import CallbackEvent, Corp

Kind = CallbackEvent.Kind
SECTION = "callback"


class CallbackKeysForm(forms.Form):
    """Token and EncodingAESKey of a callback address, made by WeCom's console or by another program before."""

    token = CompactField(
        label="Token",
        widget=VisibleWriteOnlyInput,
        validators=[RegexValidator(r"^[0-9A-Za-z]{1,32}$", _("A Token has 1 to 32 letters and digits."))],
    )
    aes_key = CompactField(label="EncodingAESKey", widget=VisibleWriteOnlyInput)

    def clean_aes_key(self) -> str:
        """Says how long the text was: a key that lost its end in copying is the usual mistake."""
        key: str = self.cleaned_data["aes_key"]
        if len(key) != callbacks.AES_KEY_CHARACTERS:
            raise ValidationError(
                _("An EncodingAESKey has exactly %(right)s characters; this has %(count)s."),
                code="length",
                params={"right": callbacks.AES_KEY_CHARACTERS, "count": len(key)},
            )
        try:
            decode_key(key)
        except ValueError:
            raise ValidationError(_("An EncodingAESKey has letters and digits only."), code="characters") from None
        return key


class CallbackPages(CorpPages):
    """Make and show the keys of a corp's callback addresses. Who may change the corp may do both; both are logged."""

    def get_urls(self) -> list[URLPattern]:
        views = {
            ("callback/<slug:kind>/generate/", "callback_generate"): require_POST(self.generate_view),
            ("callback/<slug:kind>/keys/", "callback_keys"): require_POST(self.keys_view),
            ("callback/<slug:kind>/paste/", "callback_paste"): self.paste_view,
            ("callback/<slug:kind>/state/", "callback_state"): require_GET(self.state_view),
        }
        return [*self._routes(views), *super().get_urls()]

    def generate_view(self, request: HttpRequest, corp_id: int, kind: str) -> HttpResponse:
        corp, address = self._corp(request, corp_id, to_change=True), _kind(kind)
        if "first" in request.POST and callbacks.have_keys(corp=corp, kind=address):
            messages.warning(request, gettext("Somebody else saved a pair meanwhile; it was left as it is."))
            return self._to_page(corp, SECTION)
        callbacks.generate_callback_keys(corp=corp, kind=address)
        self.log_change(
            request, corp, gettext("Token and EncodingAESKey generated (%(address)s).") % {"address": address.label}
        )
        messages.success(request, gettext("Token and EncodingAESKey are generated. Show them to copy them."))
        return self._to_page(corp, SECTION)

    def paste_view(self, request: HttpRequest, corp_id: int, kind: str) -> HttpResponse:
        """Take the pair that WeCom's console generated, instead of generating one here."""
        corp, address = self._corp(request, corp_id, to_change=True), _kind(kind)
        form = CallbackKeysForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            callbacks.save_callback_keys(corp=corp, kind=address, **form.cleaned_data)
            self.log_change(
                request, corp, gettext("Token and EncodingAESKey pasted (%(address)s).") % {"address": address.label}
            )
            messages.success(request, gettext("Token and EncodingAESKey are saved."))
            return self._to_page(corp, SECTION)
        context = {
            "title": gettext("Paste Token and EncodingAESKey from WeCom's console"),
            "corp": corp,
            "where": _where(address),
            "form": form,
        }
        return own_page(self, request, "admin/integrations/corp/callback_paste.html", context)

    def keys_view(self, request: HttpRequest, corp_id: int, kind: str) -> HttpResponse:
        """Token and EncodingAESKey to copy. By POST: each showing is recorded in the history."""
        corp, address = self._corp(request, corp_id, to_change=True), _kind(kind)
        crypto = self._saved_keys(request, corp, address)
        if crypto is None:
            return self._to_page(corp, SECTION)
        self.log_change(
            request, corp, gettext("Token and EncodingAESKey shown (%(address)s).") % {"address": address.label}
        )
        context = {
            "title": gettext("Receiving messages: values for WeCom's console"),
            "corp": corp,
            "where": _where(address),
            "values": [
                {"id": "callback-url", "label": "URL", "value": callbacks.callback_url(corp, address)},
                {"id": "callback-token", "label": "Token", "value": crypto.token},
                {"id": "callback-aes-key", "label": "EncodingAESKey", "value": crypto.encoding_aes_key},
            ],
            "kind": address.value,
            "state": self._state(corp, address),
        }
        return own_page(self, request, "admin/integrations/corp/callback_keys.html", context)

    def state_view(self, request: HttpRequest, corp_id: int, kind: str) -> JsonResponse:
        """Whether WeCom has verified the address; the page with the keys polls it."""
        return JsonResponse(self._state(self._corp(request, corp_id, to_change=False), _kind(kind)))

    def callback_panel(self, request: HttpRequest, corp: Corp) -> list[dict[str, Any]]:
        """What the corp's page shows of its two addresses; no key among it."""
        can_act = self.has_change_permission(request, corp)
        return [
            {
                "address": address,
                "where": _where(address.kind),
                "state": _state_html(address),
                "can_act": can_act,
                "id": f"callback-{address.kind.value}",
            }
            for address in callbacks.addresses(corp, now=timezone.now())
        ]

    def refused_elsewhere(self) -> int:
        """Calls of today to addresses of companies that do not exist: an old URL in some console, or a stranger."""
        now = timezone.now()
        return sum(callbacks.refused_count(corp_id=callbacks.NO_CORP, kind=kind, now=now) for kind in Kind)

    def _saved_keys(self, request: HttpRequest, corp: Corp, kind: Kind) -> CallbackCrypto | None:
        try:
            crypto = callback_crypto(corp, kind)
        except UnreadableSecretError:
            messages.error(
                request,
                gettext(
                    "The saved values cannot be decrypted: a key is missing in FIELD_ENCRYPTION_KEYS. "
                    "Restore it, or generate new values."
                ),
            )
            return None
        if crypto is None:
            messages.error(request, gettext("There are no values yet. Generate them first."))
        return crypto

    def _state(self, corp: Corp, kind: Kind) -> dict[str, Any]:
        address = next(one for one in callbacks.addresses(corp, now=timezone.now()) if one.kind == kind)
        return {"is_unfinished": address.verified_at is None, "html": _state_html(address)}


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise Http404 from None


def _where(kind: Kind) -> str:
    """Where WeCom's console asks for the values."""
    if kind == Kind.APP:
        return gettext("App management → the app → Receive messages → Set API reception")
    return gettext("Management tools → Contacts sync → Set the server that receives events")


def _state_html(address: callbacks.Address) -> str:
    return render_to_string("admin/integrations/corp/_callback_state.html", {"address": address})
