"""Sections of a company's admin page: console values and changes, credentials, callbacks, verification files."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import MaxLengthValidator, MinLengthValidator, RegexValidator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from integrations import bi, callbacks
from integrations.admin.base import CompactField, CorpPages, VisibleWriteOnlyInput, show_page, show_toned_text
from integrations.admin.diagnosis import describe_state, render_results
from integrations.admin.jobs import may_retry
from integrations.clients.errors import UnreadableSecretError
from integrations.companies import console, links, services
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.console import check_verification_files
from integrations.companies.diagnosis.findings import IP_REFUSED
from integrations.core.client_factory import callback_crypto
from integrations.core.hooks import list_offered_landing_pages
from integrations.core.http import add_leading_slash, parse_inner_page
from integrations.jobs.registry import describe_job
from integrations.jobs.requests import find_newest_job
from integrations.models import CallbackEvent, Corp, CredentialsState, Job

FOLDER = "admin/integrations/corp"
# The choice of the link builder for a typed path.
OTHER_PAGE = "other"


class ConsolePages(CorpPages):
    """Steps, links and changes in WeCom's console. View permission builds links, change permission changes things."""

    def steps_view(self, request: HttpRequest, corp: Corp) -> JsonResponse:
        """Return the state of each step and the values that WeCom reports. The page polls it while steps are open."""
        panel = self.describe_steps(request, corp)
        return JsonResponse({name: panel[name] for name in ("is_unfinished", "html", "parts")})

    def describe_steps(self, request: HttpRequest, corp: Corp) -> dict[str, Any]:
        """Return the template context of the steps. `is_unfinished`: whether to poll; `html`: the next step of a
        disabled corp; `parts`: HTML by the id of its element, and each part also under this id with underscores."""
        steps = services.list_steps(corp)
        is_checked = corp.staged_state == CredentialsState.WAITING
        next_step = None if corp.is_enabled else next((step for step in steps if step.is_next), None)
        next_context = {"next_step": next_step, "corp": corp, "can_act": self.has_change_permission(request, corp)}
        writes = console.list_last_writes(corp)
        credentials: dict[str, Any] = {"corp": corp}
        if found := corp.staged_finding:  # why the new credentials are not in use
            explanation = checks.explain_finding("agentid", found["problem"], found["errcode"], found["facts"])
            credentials["explanation"] = explanation
        credentials |= describe_job(find_newest_job(services.CONFIRM, corp.pk)) if is_checked else {}
        ips = services.list_known_ips(corp)
        runs = checks.find_latest_runs(corp)
        rendered = {
            "corp-state": ("_state", state := describe_state(corp, runs)),
            **({"corp-reach": ("_reach", state)} if corp.is_enabled else {}),
            "staged-credentials": ("_staged_credentials", credentials),
            "last-writes": ("_last_writes", {"last_writes": [_describe_write(write) for write in writes]}),
            "known-ips": ("_trusted_ip_known", {"ips": ips, "to_paste": [ip["address"] for ip in ips]}),
            **{
                f"state-of-{name}": ("_value_state", {"state": state})
                for name, state in services.judge_console_values(corp).items()
            },
        }
        parts: dict[str, str] = {
            place: render_to_string(f"{FOLDER}/{name}.html", context) for place, (name, context) in rendered.items()
        }
        parts |= render_results(corp, runs)
        parts |= {f"state-of-{step.anchor}": show_toned_text(step.state.tone, step.state.label) for step in steps}
        is_open = any(write.is_unfinished for write in writes) or any(step.state.is_open for step in steps)
        return {
            "is_unfinished": is_checked or is_open,
            "html": render_to_string(f"{FOLDER}/_next_step.html", next_context),
            "parts": parts,
            "steps": steps,
            **{place.replace("-", "_"): html for place, html in parts.items()},
        }

    def link_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        """Show the deep link to a chosen or typed page: as a page, or as HTML in JSON."""
        link = build_link(corp, request.GET.get("page", ""), request.GET.get("path", ""))
        if _wants_json(request):
            return JsonResponse({"html": render_to_string(f"{FOLDER}/_link.html", {"corp": corp, "link": link})})
        return self._render_page(request, corp, "link.html", gettext("Link to a page"), {"link": link})

    def write_start_view(self, request: HttpRequest, corp: Corp, kind: str) -> HttpResponse:
        """Request the preview of a change, which a worker prepares, and redirect to its page."""
        if kind not in console.WriteKind.values:
            raise Http404
        write = console.request_preview(corp=corp, kind=console.WriteKind(kind), by=request.user, now=timezone.now())
        if _wants_json(request):
            return _answer_write(request, corp, write)
        return HttpResponseRedirect(reverse("admin:integrations_corp_write", args=[corp.pk, write.pk]))

    def write_view(self, request: HttpRequest, corp: Corp, write_id: int) -> HttpResponse:
        """Show the change: the current value, the new one, and the result."""
        write = _find_write(corp, write_id)
        context = {"write": write, "panel": _render_write(request, corp, write)}
        title = gettext("Write into WeCom: %(kind)s") % {"kind": console.WriteKind(write.payload["kind"]).label}
        return self._render_page(request, corp, "console_write.html", title, context)

    def write_state_view(self, request: HttpRequest, corp: Corp, write_id: int) -> JsonResponse:
        return JsonResponse(_render_write(request, corp, _find_write(corp, write_id)))

    def write_confirm_view(self, request: HttpRequest, corp: Corp, write_id: int) -> HttpResponse:
        """Confirm a prepared change, which a worker then writes. The corp's page shows the result."""
        preview = _find_write(corp, write_id)
        if write := console.confirm_write(preview=preview, by=request.user, now=timezone.now()):
            kind = console.WriteKind(write.payload["kind"]).label
            self.log_change(request, corp, gettext("Change in WeCom confirmed: %(kind)s.") % {"kind": kind})
        else:
            messages.warning(request, gettext("This change was not waiting for a confirmation any more."))
        return (
            _answer_write(request, corp, write or preview)
            if _wants_json(request)
            else self._redirect_to_page(corp, "write")
        )

    def _render_page(
        self, request: HttpRequest, corp: Corp, template: str, title: str, extra: dict[str, Any]
    ) -> TemplateResponse:
        return show_page(self, request, f"{FOLDER}/{template}", {"corp": corp, "title": title, **extra})


def _find_write(corp: Corp, write_id: int) -> Job:
    return get_object_or_404(Job, pk=write_id, corp=corp, kind=console.WRITE)


def _wants_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def build_link(corp: Corp, page: str, typed: str) -> dict[str, Any]:
    """Return the context of the link builder: choices, selection, and the link or an error."""
    known = list_offered_landing_pages()
    is_typed = page == OTHER_PAGE or page not in {one.path for one in known}
    state: dict[str, Any] = {
        "choices": [(one.path, one.label, one.path == page and not is_typed) for one in known],
        "is_typed": is_typed,
        "typed": typed,
        "url": "",
        "error": "",
    }
    try:
        target = page
        if is_typed:  # a path of this site or of the BI, or a URL copied from either
            in_bi = bi.parse_link_page(typed.strip(), bi.load_connection()) if bi.is_open() else None
            target = parse_inner_page(in_bi or typed, site_url=corp.find_site_address().url)
    except ValidationError as refusal:
        return {**state, "error": " ".join(refusal.messages)}
    leads_to_bi = bi.find_landing_page(add_leading_slash(target)).startswith(bi.ROOT) if target else False
    return {**state, "target": target, "leads_to_bi": leads_to_bi, "url": links.build_deep_link(corp, target)}


def _describe_write(write: Job) -> dict[str, Any]:
    """Return the state of a preview or a write for the templates."""
    confirmed = write.payload.get("changes")
    changes = write.result.get("changes", []) if confirmed is None else confirmed
    is_planned = confirmed is None and console.awaits_confirmation(write)
    return {
        "write": write,
        "kind": console.WriteKind(write.payload["kind"]).label,
        "explanation": console.explain_write(write),
        "changes": changes,
        "is_planned": is_planned,
        "is_confirmed": confirmed is not None,
        "is_written": confirmed is not None and write.status == Job.Status.DONE,
    }


def _render_write(request: HttpRequest, corp: Corp, write: Job) -> dict[str, Any]:
    """Render a change. Return the HTML and whether to poll again."""
    described = _describe_write(write)
    context = {
        "corp": corp,
        **described,
        **describe_job(write),
        **({"problem": ""} if described["explanation"].what else {}),
        "may_retry": not described["explanation"].what and may_retry(request, write),
        # WeCom reports our address with every refusal. Show it only if the address was refused.
        "refused_ip": write.facts.get("caller_ip") if write.facts.get("errcode") in IP_REFUSED else None,
    }
    return {
        "is_unfinished": write.is_unfinished,
        "html": render_to_string(f"{FOLDER}/_console_write.html", context, request),
    }


def _answer_write(request: HttpRequest, corp: Corp, write: Job) -> JsonResponse:
    """Return the change for the corp's page, with the URL to poll."""
    url = reverse("admin:integrations_corp_write_state", args=[corp.pk, write.pk])
    return JsonResponse({**_render_write(request, corp, write), "url": url})


class CredentialPages(CorpPages):
    """Store, check and discard new credentials. Only superusers may; view permission shows their state."""

    def stage_credentials(self, request: HttpRequest, corp: Corp, agentid: int, secret: str) -> None:
        """Store new credentials of a superuser, and let a worker check them with WeCom."""
        services.stage_credentials(corp=corp, agentid=agentid, secret=secret, by=request.user, now=timezone.now())
        self.log_change(request, corp, gettext("New AgentId and Secret handed in."))
        messages.info(
            request, gettext("WeCom is asked to confirm the new AgentId and Secret. Until then the old ones are used.")
        )

    def credentials_check_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        _require_superuser(request)
        if not services.check_credentials_again(corp=corp, by=request.user, now=timezone.now()):
            messages.info(request, gettext("No new credentials are waiting any more."))
        return self._redirect_to_page(corp, "credentials")

    def credentials_discard_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        _require_superuser(request)
        if services.discard_credentials(corp=corp):
            self.log_change(request, corp, gettext("New AgentId and Secret discarded."))
            messages.success(request, gettext("The new AgentId and Secret are discarded; the old ones stay in use."))
        else:
            messages.info(request, gettext("No new credentials are waiting any more."))
        return self._redirect_to_page(corp, "credentials")


def _require_superuser(request: HttpRequest) -> None:
    if not request.user.is_superuser:
        raise PermissionDenied


CallbackKind = CallbackEvent.Kind
CALLBACK_SECTION = "callback"


class CallbackKeysForm(forms.Form):
    """Token and EncodingAESKey of a callback address, generated by WeCom's console or another program."""

    token = CompactField(
        label="Token",
        widget=VisibleWriteOnlyInput,
        validators=[RegexValidator(r"^[0-9A-Za-z]{1,32}$", _("A Token has 1 to 32 letters and digits."))],
    )
    # Validators instead of max_length: a browser would cut pasted text before its spaces are removed.
    aes_key = CompactField(
        label="EncodingAESKey",
        widget=VisibleWriteOnlyInput,
        validators=[
            MinLengthValidator(callbacks.AES_KEY_CHARACTERS),
            MaxLengthValidator(callbacks.AES_KEY_CHARACTERS),
            RegexValidator(r"^[0-9A-Za-z]*$", _("An EncodingAESKey has letters and digits only.")),
        ],
    )


class CallbackPages(CorpPages):
    """Generate, paste and show the keys of a corp's callback addresses. All need change permission and are logged."""

    def generate_view(self, request: HttpRequest, corp: Corp, kind: str) -> HttpResponse:
        """Generate keys. The form sends `first` if its page showed that there were none."""
        chosen = _parse_kind(kind)
        if "first" in request.POST and callbacks.has_callback_keys(corp=corp, kind=chosen):
            messages.warning(request, gettext("Somebody else saved a pair meanwhile; it was left as it is."))
            return self._redirect_to_page(corp, CALLBACK_SECTION)
        callbacks.generate_callback_keys(corp=corp, kind=chosen)
        self.log_change(
            request, corp, gettext("Token and EncodingAESKey generated (%(address)s).") % {"address": chosen.label}
        )
        messages.success(request, gettext("Token and EncodingAESKey are generated. Show them to copy them."))
        return self._redirect_to_page(corp, CALLBACK_SECTION)

    def paste_view(self, request: HttpRequest, corp: Corp, kind: str) -> HttpResponse:
        """Save keys that WeCom's console generated."""
        chosen = _parse_kind(kind)
        form = CallbackKeysForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            callbacks.save_callback_keys(corp=corp, kind=chosen, **form.cleaned_data)
            self.log_change(
                request, corp, gettext("Token and EncodingAESKey pasted (%(address)s).") % {"address": chosen.label}
            )
            messages.success(request, gettext("Token and EncodingAESKey are saved."))
            return self._redirect_to_page(corp, CALLBACK_SECTION)
        context = {
            "title": gettext("Paste Token and EncodingAESKey from WeCom's console"),
            "corp": corp,
            "kind": chosen.value,
            "form": form,
        }
        return show_page(self, request, "admin/integrations/corp/callback_paste.html", context)

    def keys_view(self, request: HttpRequest, corp: Corp, kind: str) -> HttpResponse:
        """Show Token and EncodingAESKey. Requires POST, because each display is recorded in the history."""
        chosen = _parse_kind(kind)
        try:
            crypto = callback_crypto(corp, chosen)
            problem = gettext("There are no values yet. Generate them first.")
        except UnreadableSecretError:
            crypto = None
            problem = gettext(
                "The saved values cannot be decrypted: a key is missing in FIELD_ENCRYPTION_KEYS. "
                "Restore it, or generate new values."
            )
        if crypto is None:
            messages.error(request, problem)
            return self._redirect_to_page(corp, CALLBACK_SECTION)
        self.log_change(
            request, corp, gettext("Token and EncodingAESKey shown (%(address)s).") % {"address": chosen.label}
        )
        context = {
            "title": gettext("Receiving messages: values for WeCom's console"),
            "corp": corp,
            "url": callbacks.build_callback_url(corp, chosen),
            "crypto": crypto,
            "kind": chosen.value,
            "state": self._describe_state(corp, chosen),
        }
        return show_page(self, request, "admin/integrations/corp/callback_keys.html", context)

    def state_view(self, request: HttpRequest, corp: Corp, kind: str) -> JsonResponse:
        """Return whether WeCom has verified the URL. The page with the keys polls it."""
        return JsonResponse(self._describe_state(corp, _parse_kind(kind)))

    def _describe_state(self, corp: Corp, kind: CallbackKind) -> dict[str, Any]:
        address = callbacks.describe_callback_address(corp, kind, now=timezone.now())
        html = render_to_string(f"{FOLDER}/_callback_state.html", {"address": address})
        return {"is_unfinished": address["verified_at"] is None, "html": html}


def _parse_kind(text: str) -> CallbackKind:
    try:
        return CallbackKind(text)
    except ValueError:
        raise Http404 from None


VERIFICATION_SECTION = "verification"


class VerificationPages(CorpPages):
    """Upload and remove verification files of a corp. Both need change permission."""

    def upload_view(self, request: HttpRequest, corp: Corp) -> HttpResponse:
        upload = request.FILES.get("file")
        if upload is None:
            messages.error(request, gettext("Choose the file first."))
            return self._redirect_to_page(corp, VERIFICATION_SECTION)
        content = upload.read(links.FILE_BYTES_AT_MOST + 1)
        try:
            name = links.store_file(corp=corp, name=upload.name or "", content=content, now=timezone.now())
        except ValidationError as refusal:
            messages.error(request, " ".join(refusal.messages))
            return self._redirect_to_page(corp, VERIFICATION_SECTION)
        self.log_change(request, corp, gettext("Verification file %(name)s uploaded.") % {"name": name})
        messages.success(request, gettext("%(name)s is served from now on.") % {"name": name})
        checks.request_checks(corp=corp, checks=[check_verification_files.name], now=timezone.now())
        return self._redirect_to_page(corp, VERIFICATION_SECTION)

    def remove_view(self, request: HttpRequest, corp: Corp, code: str) -> HttpResponse:
        if not links.remove_file(corp=corp, code=code):
            raise Http404
        name = links.name_verification_file(code)
        self.log_change(request, corp, gettext("Verification file %(name)s removed.") % {"name": name})
        messages.success(request, gettext("%(name)s is no longer served.") % {"name": name})
        return self._redirect_to_page(corp, VERIFICATION_SECTION)
