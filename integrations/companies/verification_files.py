"""Stores verification files, and checks them at the public address as WeCom does."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from integrations.clients.errors import ConfigurationError, Explanation, TransientError
from integrations.clients.site import Page, SiteClient
from integrations.clients.wecom.errcodes.entry import NETWORK_ADMIN
from integrations.companies import links
from integrations.core.explanations import translated
from integrations.core.validators import without_invisible
from integrations.models import Corp, SiteAddress, VerificationFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

FILE_BYTES_AT_MOST = 1024
# A second click while a check is under way waits for that one, unless it seems lost.
UNDER_WAY_SECONDS = 60
_FILE_NAME = re.compile(r"WW_verify_([0-9A-Za-z]{16})\.txt")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Outcome = VerificationFile.Outcome


def code_in(name: str, content: bytes) -> str:
    """The code of an uploaded file. Editors' marks around it (a BOM, line ends) are passed over.

    Raises ValidationError, with a sentence, for a file of another name, size or content.
    Source: developer.work.weixin.qq.com, trusted domains: the body is what stands between WW_verify_ and .txt.
    """
    found = _FILE_NAME.fullmatch(name)
    if found is None:
        raise ValidationError(
            _(
                "“%(name)s” is not the name of a verification file: WW_verify_, 16 letters or digits, .txt. "
                "Upload the file as WeCom's console gave it; if the browser added “(1)” to its name, remove that."
            ),
            code="name",
            params={"name": without_invisible(name)[:64]},
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
    return code


def store_file(*, corp: Corp, name: str, content: bytes, now: datetime) -> VerificationFile:
    """Serve a file from now on. The same file again is the same row. Raises ValidationError."""
    code = code_in(name, content)
    return VerificationFile.objects.get_or_create(corp=corp, code=code, defaults={"uploaded_at": now})[0]


def is_served(code: str) -> bool:
    """Whether some corp has the file of this code."""
    return VerificationFile.objects.filter(code=code).exists()


def public_url(site: SiteAddress, file: VerificationFile) -> str:
    """Where WeCom looks for the file. `site`: the site address of the file's corp."""
    return site.absolute(reverse("verification-file", args=[file.code]))


def request_check(*, file: VerificationFile, now: datetime) -> bool:
    """Note that the public address is to be looked at. Returns False while such a look is under way."""
    recent = now - timedelta(seconds=UNDER_WAY_SECONDS)
    if file.is_being_checked and file.check_requested_at is not None and file.check_requested_at > recent:
        return False
    VerificationFile.objects.filter(pk=file.pk).update(check_requested_at=now)
    file.check_requested_at = now
    return True


def withdraw_check(file: VerificationFile) -> None:
    """Note that the check asked for will not come; what an earlier one found stands again."""
    VerificationFile.objects.filter(pk=file.pk, check_requested_at=file.check_requested_at).update(
        check_requested_at=None
    )


def check_now(*, file_id: int, clock: Callable[[], datetime]) -> None:
    """Look at the public address now, whether or not somebody asked for it."""
    VerificationFile.objects.filter(pk=file_id).update(check_requested_at=clock())
    run_check(file_id=file_id, clock=clock)


def run_check(*, file_id: int, clock: Callable[[], datetime]) -> None:
    """Look at the public address and note what was found. Does nothing where no check is wanted; safe to run twice."""
    file = VerificationFile.objects.select_related("corp__site_address").filter(pk=file_id).first()
    if file is None or not file.is_being_checked:
        return
    url = public_url(links.site_address_for(file.corp), file)
    outcome, detail = _fetched(url, file.code)
    VerificationFile.objects.filter(pk=file.pk).update(
        checked_at=clock(), checked_url=url, outcome=outcome, detail=without_invisible(detail)[:255]
    )


def _fetched(url: str, code: str) -> tuple[Outcome, str]:
    try:
        page = SiteClient().fetch(url)
    except ConfigurationError as error:
        return Outcome.UNTRUSTED, error.message
    except TransientError as error:
        return Outcome.UNREACHABLE, error.message
    return _judged(page, code)


def _judged(page: Page, code: str) -> tuple[Outcome, str]:
    if 300 <= page.status < 400:
        return Outcome.REDIRECTED, f"HTTP {page.status} {page.location}"
    if page.status != 200:
        return Outcome.WRONG_STATUS, f"HTTP {page.status}"
    media_type = page.content_type.split(";")[0].strip().lower()
    if page.content != code.encode() or media_type != "text/plain":
        return Outcome.WRONG_CONTENT, f"HTTP 200 {page.content_type}"
    return Outcome.FOUND, ""


def explanation(file: VerificationFile) -> Explanation:
    """What the last check of the public address means, in the active language; empty where all is well."""
    english = EXPLANATIONS.get(file.outcome, Explanation(""))
    return translated(english, {"url": file.checked_url})


_PROXY = gettext_noop("Let the reverse proxy pass /WW_verify_*.txt on to this site, with its Host header as it comes.")
# `url`: the address that was checked.
EXPLANATIONS = {
    Outcome.WRONG_CONTENT.value: Explanation(
        gettext_noop("Something else answers at %(url)s: a login page, another server, or a copy of the file."),
        NETWORK_ADMIN,
        _PROXY,
    ),
    Outcome.WRONG_STATUS.value: Explanation(
        gettext_noop("%(url)s answers, but not with the file: the request does not arrive at this site."),
        NETWORK_ADMIN,
        _PROXY,
    ),
    Outcome.REDIRECTED.value: Explanation(
        gettext_noop("%(url)s sends the visitor elsewhere. WeCom looks for the file at this very address."),
        NETWORK_ADMIN,
        gettext_noop(
            "If it leads from http:// to https://, save the site address with https://. "
            "Otherwise exempt /WW_verify_*.txt from the redirection."
        ),
    ),
    Outcome.UNTRUSTED.value: Explanation(
        gettext_noop("The certificate of %(url)s is not trusted."),
        NETWORK_ADMIN,
        gettext_noop(
            "Install a valid certificate of a public authority for this host name, with its intermediate ones."
        ),
    ),
    Outcome.UNREACHABLE.value: Explanation(
        gettext_noop("%(url)s cannot be reached from this server, or did not answer in time."),
        NETWORK_ADMIN,
        gettext_noop("Check the DNS entry of the host name, the firewall and the reverse proxy."),
    ),
}
