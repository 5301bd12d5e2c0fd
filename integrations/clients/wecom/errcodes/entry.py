"""One row of the table of error codes, and the sentences that many rows share."""

from __future__ import annotations

from dataclasses import dataclass

from integrations.clients.errors import Explanation, IntegrationError


def gettext_noop(text: str) -> str:
    """Mark `text` for the catalogues. Whoever shows it translates it: this package knows nothing of Django."""
    return text


_ = gettext_noop


@dataclass(frozen=True, slots=True)
class Entry:
    """What the caller should do about a code, and what an administrator should read, in English."""

    error: type[IntegrationError]
    explanation: Explanation


SITE_ADMIN = _("The administrator of this site.")
WECOM_ADMIN = _("The administrator of WeCom.")
NETWORK_ADMIN = _("The administrator of this server's network.")
AUTHOR = _("Whoever wrote the push or alert rule.")
NOBODY = _("Nobody: it passes by itself.")
PERSON = _("The person who signs in.")
SUPPORT = _("The support of this product: this is a mistake of the program.")

TO_SUPPORT = _("Send the code and the hint of this error to support.")
TO_CORP_PAGE = _(
    "System integration → WeCom configuration → the company: correct the field, save, and test the connection."
)
TO_APP_PAGE = _("WeCom's console → App management → the app.")
TO_SCOPE = _("WeCom's console → App management → the app → Visible scope.")
TO_TRUSTED_DOMAIN = _("WeCom's console → App management → the app → Web authorisation and JS-SDK.")
TO_TRUSTED_IP = _("WeCom's console → App management → the app → Trusted company IP.")
TO_PERMISSIONS = _("WeCom's console → App management → the app → API permissions.")
TO_RECIPIENTS = _("Open the push or alert rule and correct its recipients.")
TO_CONTENT = _("Open the push or alert rule and change its content.")
TO_DIRECTORY = _("Start a directory synchronisation; the details are kept with its run.")
TO_SIGN_IN = _("Open the app from WeCom's workbench again, or scan the QR code again.")
TO_WAIT = _("Nothing to be done: it is tried again later. If it lasts for hours, ask WeCom's support.")
