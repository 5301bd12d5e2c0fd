"""Sections of a company's admin page for its callback and its verification files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations.admin.base import CompactField, CorpPages, View, VisibleWriteOnlyInput, own_page
from integrations.clients.errors import UnreadableSecretError
from integrations.clients.wecom.callbacks import CallbackCrypto, decode_key
from integrations.companies import callbacks, links
from integrations.core.background import queue_on_commit
from integrations.core.client_factory import callback_crypto
from integrations.core.sentences import unqueued
from integrations.models import CallbackEvent, Corp, SiteAddress, VerificationFile
from integrations.tasks import check_verification_file

Kind = CallbackEvent.Kind
CALLBACK_SECTION = "callback"


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
            return self._to_page(corp, CALLBACK_SECTION)
        callbacks.generate_callback_keys(corp=corp, kind=address)
        self.log_change(
            request, corp, gettext("Token and EncodingAESKey generated (%(address)s).") % {"address": address.label}
        )
        messages.success(request, gettext("Token and EncodingAESKey are generated. Show them to copy them."))
        return self._to_page(corp, CALLBACK_SECTION)

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
            return self._to_page(corp, CALLBACK_SECTION)
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
            return self._to_page(corp, CALLBACK_SECTION)
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


# A check that still waits after so long has no worker.
WORKER_MISSING = timedelta(seconds=20)
VERIFICATION_SECTION = "verification"


class VerificationPages(CorpPages):
    """Upload, check and remove a corp's verification files. Who may change the corp may do all three."""

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("verification/", "verification"): require_POST(self.upload_view),
            ("verification/panel/", "verification_panel"): require_GET(self.files_view),
            ("verification/<int:file_id>/check/", "verification_check"): require_POST(self.check_view),
            ("verification/<int:file_id>/remove/", "verification_remove"): require_POST(self.remove_view),
        }
        return [*self._routes(views), *super().get_urls()]

    def upload_view(self, request: HttpRequest, corp_id: int) -> HttpResponse:
        corp = self._corp(request, corp_id, to_change=True)
        upload = request.FILES.get("file")
        if upload is None:
            messages.error(request, gettext("Choose the file first."))
            return self._to_page(corp, VERIFICATION_SECTION)
        content = upload.read(links.FILE_BYTES_AT_MOST + 1)
        try:
            file = links.store_file(corp=corp, name=upload.name or "", content=content, now=timezone.now())
        except ValidationError as refusal:
            messages.error(request, " ".join(refusal.messages))
            return self._to_page(corp, VERIFICATION_SECTION)
        self.log_change(request, corp, gettext("Verification file %(name)s uploaded.") % {"name": file})
        messages.success(request, gettext("%(name)s is served from now on.") % {"name": file})
        _start_check(request, file)
        return self._to_page(corp, VERIFICATION_SECTION)

    def check_view(self, request: HttpRequest, corp_id: int, file_id: int) -> HttpResponse:
        """Look for the file at its public address in the background; the page polls files_view."""
        corp = self._corp(request, corp_id, to_change=True)
        _start_check(request, get_object_or_404(VerificationFile, pk=file_id, corp=corp))
        return self._to_page(corp, VERIFICATION_SECTION)

    def remove_view(self, request: HttpRequest, corp_id: int, file_id: int) -> HttpResponse:
        corp = self._corp(request, corp_id, to_change=True)
        file = get_object_or_404(VerificationFile, pk=file_id, corp=corp)
        file.delete()
        self.log_change(request, corp, gettext("Verification file %(name)s removed.") % {"name": file})
        messages.success(request, gettext("%(name)s is no longer served.") % {"name": file})
        return self._to_page(corp, VERIFICATION_SECTION)

    def files_view(self, request: HttpRequest, corp_id: int) -> JsonResponse:
        """The list of files with their checks, as the page shows it."""
        return JsonResponse(self.verification_panel(request, self._corp(request, corp_id, to_change=False)))

    def verification_panel(self, request: HttpRequest, corp: Corp) -> dict[str, Any]:
        """What the corp's page shows of its files, and whether to ask again."""
        site = links.site_address_for(corp)
        rows = [_row(site, file) for file in corp.verification_files.all()]
        context = {"corp": corp, "rows": rows, "can_act": self.has_change_permission(request, corp)}
        html = render_to_string("admin/integrations/corp/_verification_files.html", context, request)
        return {"is_unfinished": any(row["is_unfinished"] for row in rows), "html": html}


def _start_check(request: HttpRequest, file: VerificationFile) -> None:
    def give_up() -> None:
        links.withdraw_file_check(file)
        messages.error(request, unqueued().what)

    if links.request_file_check(file=file, now=timezone.now()):
        queue_on_commit(check_verification_file, file.pk, otherwise=give_up)


def _row(site: SiteAddress, file: VerificationFile) -> dict[str, Any]:
    url = links.verification_file_url(site, file)
    waiting = timezone.now() - file.check_requested_at if file.check_requested_at else timedelta()
    return {
        "file": file,
        "url": url,
        "is_unfinished": file.is_being_checked,
        "seems_lost": file.is_being_checked and waiting >= WORKER_MISSING,
        "is_outdated": bool(file.checked_url) and file.checked_url != url,
        "is_found": file.outcome == VerificationFile.Outcome.FOUND,
        "explanation": links.explain_file_outcome(file),
    }
