"""Addresses of this site: home page, OAuth and QR links, verification files, certificates.

All derive from one address, so trusted domain, callback domain and home page link agree (docs/decisions/0002).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations import bi
from integrations.clients import network
from integrations.clients.errors import ConfigurationError, TransientError
from integrations.clients.network import fetch_page
from integrations.clients.wecom import oauth
from integrations.core.http import add_leading_slash, read_origin
from integrations.core.validators import remove_invisible
from integrations.jobs import requests
from integrations.jobs.registry import job_kind
from integrations.jobs.runner import JobRun
from integrations.models import Corp, SiteAddress
from integrations.models.jobs import Moment

# The path of the callback. The higher app that answers it adds this route to its own urls.
CALLBACK_ROUTE = "wecom/<int:corp_id>/callback/"


def build_sign_in_callback_url(corp: Corp) -> str:
    """Return the address to which WeCom sends a browser back with its code."""
    return corp.find_site_address().absolute("/" + CALLBACK_ROUTE.replace("<int:corp_id>", str(corp.pk)))


def find_trusted_domain(corp: Corp) -> str:
    """Return the trusted domain and authorisation callback domain for WeCom's console: no scheme, no slash."""
    return corp.find_site_address().domain


def build_plain_login_url(corp: Corp) -> str:
    """Return the login page, for a home page that does not sign people in by itself."""
    return corp.find_site_address().absolute(resolve_url(settings.LOGIN_URL))


def build_home_page_link(corp: Corp, path_url: str = "") -> str:
    """Return the app's home page for WeCom's console; `path_url`: the page to land on, by default the usual one.

    It leads to our callback with `domain` and `path_url` in the query, all of which is encoded once, as the
    specification asks. The link is static and carries no state, so its code is refused (docs/decisions/0003).
    """
    if not corp.sign_in_enabled:
        return build_plain_login_url(corp)
    pairs = (("domain", corp.domain_id), ("path_url", path_url))
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in pairs if value)
    return build_authorize_link(corp, query=query)


def build_deep_link(corp: Corp, path: str) -> str:
    """Return a link to `path` (see http.parse_inner_page), with sign-in on the way if the corp allows it."""
    if corp.sign_in_enabled:
        return build_home_page_link(corp, path)
    if not path:
        return build_plain_login_url(corp)
    return corp.find_site_address().absolute(bi.find_landing_page(add_leading_slash(path)))


def build_authorize_link(corp: Corp, state: str = "", *, query: str = "") -> str:
    """Return the silent sign-in link for a browser inside WeCom. `state`: letters and digits, at most 128. `query`: the
    query of our callback."""
    return oauth.build_authorize_url(
        corpid=corp.corpid,
        agentid=corp.agentid,
        redirect_uri=f"{build_sign_in_callback_url(corp)}{'?' if query else ''}{query}",
        state=state,
        base_url=corp.authorize_base_url,
    )


def build_qr_link(corp: Corp, state: str, language: str = "zh") -> str:
    """Return the page with the QR code, for an ordinary browser. `language`: zh or en."""
    return oauth.build_wwlogin_url(
        corpid=corp.corpid,
        agentid=corp.agentid,
        redirect_uri=build_sign_in_callback_url(corp),
        state=state,
        lang=language,
        base_url=corp.qr_base_url,
    )


def describe_qr_panel(corp: Corp, state: str, language: str = "zh") -> dict[str, Any]:
    """Describe the QR code inside our own page. `params`: the parameters of WeCom's component `createWWLoginPanel`,
    which redirects the whole page to us, not only its frame. `is_official`: whether it can be used: it works with
    WeCom's own host only. Otherwise our page shows `page` in a plain frame.

    Source: developer.work.weixin.qq.com/document/path/98174 and the types of @wecom/jssdk 2.4.4.
    """
    return {
        "params": {
            "login_type": "CorpApp",
            "appid": corp.corpid,
            "agentid": str(corp.agentid),
            "redirect_uri": build_sign_in_callback_url(corp),
            "state": state,
            "redirect_type": "top",
            "lang": language,
            "color_scheme": "auto",
        },
        "page": f"{build_qr_link(corp, state, language)}&redirect_type=top&color_scheme=auto",
        "is_official": read_origin(corp.qr_base_url) == oauth.WWLOGIN_BASE_URL,
    }


FILE_BYTES_AT_MOST = 1024
_FILE_NAME = re.compile(r"WW_verify_([0-9A-Za-z]{16})\.txt")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class PageOutcome(StrEnum):
    """The outcome of fetching a page at its public address."""

    FOUND = "found"
    WRONG_CONTENT = "wrong_content"
    WRONG_STATUS = "wrong_status"
    REDIRECTED = "redirected"
    UNTRUSTED = "untrusted"
    UNREACHABLE = "unreachable"


def store_file(*, corp: Corp, name: str, content: bytes, now: datetime) -> str:
    """Serve a file from now on, and return its name. The same file is stored once.

    Additions of editors (a BOM, line ends) are ignored. Raises ValidationError, with a sentence, for a file of another
    name, size or content.
    Source: developer.work.weixin.qq.com, trusted domains: the body is the text between WW_verify_ and .txt.
    """
    found = _FILE_NAME.fullmatch(name)
    if found is None:
        raise ValidationError(
            _(
                "“%(name)s” is not the name of a verification file: WW_verify_, 16 letters or digits, .txt. "
                "Upload the file as WeCom's console gave it; if the browser added “(1)” to its name, remove that."
            ),
            code="name",
            params={"name": remove_invisible(name)[:64]},
        )
    if len(content) > FILE_BYTES_AT_MOST:
        raise ValidationError(
            _("This file is too large: a verification file holds 16 characters and nothing else."), code="size"
        )
    code = found[1]
    if content.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n") != code.encode():
        raise ValidationError(
            _(
                "The content of “%(name)s” is not the code in its name. "
                "Download the file from WeCom's console again and upload it unchanged."
            ),
            code="content",
            params={"name": name},
        )
    with _edit_files(corp) as files:
        if all(file["code"] != code for file in files):
            files.append({"code": code, "uploaded_at": now.isoformat()})
    return name_verification_file(code)


def remove_file(*, corp: Corp, code: str) -> bool:
    """Stop serving a file of this company. Return False if there is none."""
    with _edit_files(corp) as files:
        kept = [file for file in files if file["code"] != code]
        was_there, files[:] = len(kept) < len(files), kept
    return was_there


@contextmanager
def _edit_files(corp: Corp) -> Iterator[list[dict[str, str]]]:
    """Yield the list of the company's files, with the row locked, and save the list afterwards."""
    with transaction.atomic():
        rows = Corp.objects.select_for_update(no_key=True)
        corp.verification_files = rows.values_list("verification_files", flat=True).get(pk=corp.pk)
        yield corp.verification_files
        corp.save(update_fields=["verification_files"])


def name_verification_file(code: str) -> str:
    return f"WW_verify_{code}.txt"


def build_verification_file_url(site: SiteAddress, code: str) -> str:
    """Return the address at which WeCom fetches the file. `site`: the site address of the file's corp."""
    return site.absolute(reverse("verification-file", args=[code]))


def judge_public_page(url: str, content: bytes, *, media_type: str = "text/plain") -> tuple[PageOutcome, str]:
    """Fetch our page, which should have this content and type. Return what was found, with the detail of a failure."""
    try:
        page = fetch_page(url)
    except ConfigurationError as error:
        return PageOutcome.UNTRUSTED, error.message
    except TransientError as error:
        return PageOutcome.UNREACHABLE, error.message
    if 300 <= page.status < 400:
        location = page.headers.get("Location", "").partition("?")[0]  # the query may be signed
        return PageOutcome.REDIRECTED, f"HTTP {page.status} {location}"
    if page.status != 200:
        return PageOutcome.WRONG_STATUS, f"HTTP {page.status}"
    content_type = page.headers.get("Content-Type", "")
    if page.content != content or media_type not in {"", content_type.split(";")[0].strip().lower()}:
        return PageOutcome.WRONG_CONTENT, f"HTTP 200 {content_type}"
    return PageOutcome.FOUND, ""


CERTIFICATE = "site.certificate"
CHECKED_EVERY = timedelta(hours=1)
_CERTIFICATE_SECONDS = 10.0


def find_due_certificates(now: Moment) -> QuerySet[SiteAddress]:
    """Return addresses with https whose certificate was last checked longer than CHECKED_EVERY ago, or never."""
    is_old = Q(certificate_checked_at__isnull=True) | Q(certificate_checked_at__lte=now - CHECKED_EVERY)
    is_ahead = Q(certificate_checked_at__gt=now + CHECKED_EVERY)  # written under a wrong clock
    return SiteAddress.objects.filter(is_old | is_ahead, url__startswith="https://")


def request_due_certificates(now: datetime) -> None:
    """Request the due certificate checks, each once even with concurrent calls."""
    addresses = find_due_certificates(now)
    for address in addresses.order_by("pk"):
        if addresses.filter(pk=address.pk).update(certificate_checked_at=now):
            requests.request_job(CERTIFICATE, key=address.pk, subject=address.url, now=now)


@job_kind(
    CERTIFICATE,
    label=gettext_lazy("Check of the certificate of a site address"),
    explain=lambda _job: "",  # the address shows the result; the job itself does not fail
    seconds=60,
    keep=CHECKED_EVERY,
    see="integrations.change_siteaddress",
    retry="integrations.change_siteaddress",
)
def check_certificate(run: JobRun) -> dict[str, Any]:
    """Store when the certificate of one address ends; None if nothing answers there."""
    address = SiteAddress.objects.filter(pk=int(run.job.key or 0)).first()
    if address is not None:
        parts = urlsplit(address.url)
        found = network.fetch_certificate_end(parts.hostname or "", parts.port or 443, seconds=_CERTIFICATE_SECONDS)
        SiteAddress.objects.filter(pk=address.pk, url=address.url).update(certificate_ends_at=found)
    return {}
