"""Reasons why a sign-in stops, with the text of each error page: what happened, who can fix it, where."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from cryptography.fernet import InvalidToken
from django.utils.translation import gettext_noop as _

from accounts.authentication.services import Reason
from integrations.clients.errors import ConfigurationError, IntegrationError, TransientError
from integrations.clients.explanations import Explanation
from integrations.models.fields import cipher

# A page's address can be reloaded or sent to an administrator for so long.
SHOWN_SECONDS = 3600
# What a sealed text says of itself: other texts under the same keys, and those of another form, are not ours.
_PURPOSE = "sign-in-trouble"
_VERSION = 1
# A longer way back is left out: gunicorn takes request lines of up to 4094 bytes, and sealing adds a third.
TARGET_BYTES_AT_MOST = 1000
_DOMAIN_NOT_TRUSTED = 50001
_IP_NOT_TRUSTED = 60020


class Cause(StrEnum):
    UNKNOWN_COMPANY = "unknown-company"
    COMPANY_DISABLED = "company-disabled"
    NOT_LINKED = "not-linked"
    COMPANY_MISSING = "company-missing"
    OUT_OF_SCOPE = "out-of-scope"
    NOT_ADMITTED = "not-admitted"
    NOT_A_MEMBER = "not-a-member"
    OTHER_COMPANY = "other-company"
    USER_DISABLED = "user-disabled"
    CODE_EXPIRED = "code-expired"
    SIGN_IN_EXPIRED = "sign-in-expired"
    COOKIES_BLOCKED = "cookies-blocked"
    ADDRESS_DIFFERS = "address-differs"
    DOMAIN_NOT_TRUSTED = "domain-not-trusted"
    IP_NOT_TRUSTED = "ip-not-trusted"
    MISCONFIGURED = "misconfigured"
    UNEXPECTED_ANSWER = "unexpected-answer"
    WECOM_UNREACHABLE = "wecom-unreachable"
    STORE_UNREACHABLE = "store-unreachable"
    BI_OFF = "bi-off"
    BI_NO_PAGE = "bi-no-page"
    BI_NOT_ALLOWED = "bi-not-allowed"
    BI_NO_EXTERNAL_ID = "bi-no-external-id"
    BI_UNUSABLE = "bi-unusable"
    TOO_MANY = "too-many"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide(Explanation):
    """The words of one page, in English. `status`: of HTTP; `what` and `who` may name %(corp)s, %(missing)s, %(where)s.

    `is_signed_in`: it is shown to somebody who is, so that signing in again would lead nowhere.
    """

    status: int
    title: str
    is_signed_in: bool = False


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """One refusal, with what an administrator needs to know. Never a code or a state.

    `missing`, `where`: what the person's user lacks, and the sentence that says who sets it.
    """

    cause: Cause
    corp_id: int | None = None
    corp_name: str = ""
    userid: str = ""
    target: str = ""
    operation: str = ""
    errcode: int | None = None
    hint: str = ""
    caller_ip: str = ""
    missing: str = ""
    where: str = ""

    @property
    def guide(self) -> Guide:
        return GUIDES[self.cause]


def seal(details: ErrorDetails) -> str:
    """The details as a text for an address, so that the page needs neither store nor cookie. Unreadable outside."""
    if len(details.target.encode()) > TARGET_BYTES_AT_MOST:
        details = replace(details, target="")
    text = json.dumps([_PURPOSE, _VERSION, asdict(details)], ensure_ascii=False)
    return cipher().encrypt(text.encode()).decode()


def unseal(sealed: str) -> ErrorDetails | None:
    """None for what is not ours, of another version, or older than SHOWN_SECONDS."""
    try:
        purpose, version, values = json.loads(cipher().decrypt(sealed.encode(), ttl=SHOWN_SECONDS))
        if (purpose, version) != (_PURPOSE, _VERSION):
            return None
        return ErrorDetails(**{**values, "cause": Cause(values["cause"])})
    except (InvalidToken, ValueError, TypeError, KeyError):
        return None


def cause_of_refusal(reason: Reason) -> Cause:
    return Cause(reason.value)


def cause_of_error(error: IntegrationError) -> Cause:
    """Which page explains that WeCom did not answer as it should."""
    if error.code == _IP_NOT_TRUSTED:
        return Cause.IP_NOT_TRUSTED
    if error.code == _DOMAIN_NOT_TRUSTED:
        return Cause.DOMAIN_NOT_TRUSTED
    if isinstance(error, ConfigurationError):
        return Cause.MISCONFIGURED
    return Cause.WECOM_UNREACHABLE if isinstance(error, TransientError) else Cause.UNEXPECTED_ANSWER


_ASK_ADMINISTRATOR = _("An administrator of this site can fix it. Please send them this page.")

GUIDES: dict[Cause, Guide] = {
    Cause.UNKNOWN_COMPANY: Guide(
        status=404,
        title=_("This company is not connected"),
        what=_("The link names a WeCom company that this site does not know (any more)."),
        who=_("Choose your company on the login page. If the link stands in WeCom, an administrator must correct it."),
    ),
    Cause.COMPANY_DISABLED: Guide(
        status=403,
        title=_("Sign-in with WeCom is switched off"),
        what=_("An administrator has switched off sign-in with WeCom for “%(corp)s”."),
        who=_("An administrator can switch it on again in the administration, under WeCom configuration."),
    ),
    Cause.NOT_LINKED: Guide(
        status=403,
        title=_("Your WeCom account is not linked yet"),
        what=_("WeCom has confirmed who you are, but no user of this site is linked with your account in “%(corp)s”."),
        who=_(
            "Ask a system administrator of this site, and send them the account below. They enter it on your user's "
            "page as “WeCom account”, with “WeCom company name” set to “%(corp)s”."
        ),
    ),
    Cause.COMPANY_MISSING: Guide(
        status=403,
        title=_("Your user's WeCom company name is missing"),
        what=_(
            "A user of this site has your WeCom account, but the attribute “WeCom company name” beside it is empty."
        ),
        who=_(
            "An administrator must choose “%(corp)s” as “WeCom company name” on your user's page in the administration."
        ),
    ),
    Cause.OUT_OF_SCOPE: Guide(
        status=403,
        title=_("You are outside the app's visible scope"),
        what=_(
            "In the WeCom company “%(corp)s” this app is not visible to you. WeCom itself says: 你暂无权限登陆此应用."
        ),
        who=_(
            "Your company's WeCom administrator can add you in WeCom's console: App management → the app → "
            "Visible scope. After that, sign in again."
        ),
    ),
    Cause.NOT_ADMITTED: Guide(
        status=403,
        title=_("Your WeCom account waits for an administrator"),
        what=_(
            "Your account had been deleted in “%(corp)s”. It could belong to somebody else now, "
            "so it opens nothing yet."
        ),
        who=_("An administrator of this site can confirm it in the administration, under Members."),
    ),
    Cause.NOT_A_MEMBER: Guide(
        status=403,
        title=_("You are not a member of this company"),
        what=_("WeCom does not know you as a member of “%(corp)s”, so you cannot sign in for this company."),
        who=_(
            "Choose another company if you have one, or ask your company's WeCom administrator to add you as a member."
        ),
    ),
    Cause.OTHER_COMPANY: Guide(
        status=403,
        title=_("You belong to another company"),
        what=_("Your WeCom account belongs to a company that is linked with “%(corp)s”, not to “%(corp)s” itself."),
        who=_("Choose your own company on the login page. If it is not listed, ask an administrator of this site."),
    ),
    Cause.USER_DISABLED: Guide(
        status=403,
        title=_("Your user is disabled"),
        what=_("Your WeCom account is linked, but the user of this site that it belongs to is disabled."),
        who=_("An administrator of this site can enable it on your user's page in the administration."),
    ),
    Cause.CODE_EXPIRED: Guide(
        status=403,
        title=_("This sign-in has expired"),
        what=_(
            "WeCom's proof of who you are works once and for five minutes. This one was used already or came too late."
        ),
        who=_("Start again: it takes one tap."),
    ),
    Cause.SIGN_IN_EXPIRED: Guide(
        status=403,
        title=_("The sign-in could not be completed"),
        what=_("It was not started in this browser, or more than five minutes ago. For your safety it was not used."),
        who=_(
            "Start again. If this page comes back, close WeCom or the browser completely and open the link once more."
        ),
    ),
    Cause.COOKIES_BLOCKED: Guide(
        status=403,
        title=_("Your browser refuses cookies"),
        what=_("Signing in needs a cookie, and this browser has not kept it."),
        who=_("Allow cookies for this site in the browser's settings or leave private browsing, then start again."),
    ),
    Cause.ADDRESS_DIFFERS: Guide(
        status=502,
        title=_("This site is reached under another address"),
        what=_(
            "Sign-in for “%(corp)s” must run under the saved site address, but the request arrives here under another."
        ),
        who=_(
            "An administrator must save the address at which people reach this site under Site addresses, "
            "or let the reverse proxy pass on the Host header unchanged."
        ),
    ),
    Cause.DOMAIN_NOT_TRUSTED: Guide(
        status=502,
        title=_("WeCom does not trust this site's domain"),
        what=_("WeCom refused the sign-in because the domain of this site is not the app's trusted domain."),
        who=_(
            "An administrator must make the site address here and the trusted domain and authorisation callback domain "
            "in WeCom's console the same."
        ),
    ),
    Cause.IP_NOT_TRUSTED: Guide(
        status=502,
        title=_("WeCom does not trust this server's IP address"),
        what=_(
            "WeCom refused the call because this server's IP address is not among the app's trusted IPs. WeCom itself "
            "says: not allow to access from your ip."
        ),
        who=_(
            "Your company's WeCom administrator must add the address below in WeCom's console: App management → "
            "the app → Trusted company IP."
        ),
    ),
    Cause.MISCONFIGURED: Guide(
        status=502,
        title=_("The connection to WeCom is not set up correctly"),
        what=_("WeCom refused this site's own credentials or settings for “%(corp)s”."),
        who=_ASK_ADMINISTRATOR,
    ),
    Cause.UNEXPECTED_ANSWER: Guide(
        status=502,
        title=_("WeCom gave an answer that we do not understand"),
        what=_("Your sign-in was not completed, because WeCom answered with something unknown."),
        who=_ASK_ADMINISTRATOR,
    ),
    Cause.WECOM_UNREACHABLE: Guide(
        status=503,
        title=_("WeCom cannot be reached at the moment"),
        what=_("This site asked WeCom who you are and got no answer in time, or WeCom is busy."),
        who=_(
            "Please try again in a minute. If it lasts, an administrator must check the way from this server to WeCom."
        ),
    ),
    Cause.STORE_UNREACHABLE: Guide(
        status=503,
        title=_("Sign-in is not available at the moment"),
        what=_("A part of this site that sign-in needs is not running."),
        who=_("Please try again in a minute. If it lasts, an administrator must check that Valkey is running."),
    ),
    Cause.BI_OFF: Guide(
        status=404,
        title=_("The BI is not connected"),
        what=_("This page belongs to the BI, and this site does not lead into it at the moment."),
        who=_("An administrator of this site can connect it in the administration, under Guandata BI."),
        is_signed_in=True,
    ),
    Cause.BI_NO_PAGE: Guide(
        status=404,
        title=_("There is no such page in the BI"),
        what=_("The link is not complete or was changed on its way: no page of the BI has such an address."),
        who=_("Ask whoever sent you the link for a new one, or begin at the BI's first page."),
        is_signed_in=True,
    ),
    Cause.BI_NOT_ALLOWED: Guide(
        status=403,
        title=_("You do not enter the BI from here"),
        what=_("Sign-in to the BI is switched off for your company, or no company is set for you."),
        who=_(
            "An administrator of this site can switch it on in the administration, under WeCom configuration, "
            "or set your company on your user's page."
        ),
        is_signed_in=True,
    ),
    Cause.BI_NO_EXTERNAL_ID: Guide(
        status=403,
        title=_("Your account in the BI is not known yet"),
        what=_("This site passes you on to the BI by your “%(missing)s”, and your user has none that is yours alone."),
        who=_("%(where)s Please send this page to your administrator."),
        is_signed_in=True,
    ),
    Cause.BI_UNUSABLE: Guide(
        status=502,
        title=_("The connection to the BI is not set up completely"),
        what=_("This site cannot pass you on to the BI: something is missing in its settings."),
        who=_("An administrator of this site sees what is missing in the administration, under Guandata BI."),
        is_signed_in=True,
    ),
    Cause.TOO_MANY: Guide(
        status=429,
        title=_("Too many sign-ins at once"),
        what=_(
            "More people are signing in from this network, or for this company, than this site takes within a minute."
        ),
        who=_(
            "Please try again in a minute. If it lasts, whoever runs this server can raise SIGN_INS_PER_ADDRESS or "
            "SIGN_INS_PER_COMPANY."
        ),
    ),
}

# Where the same company would only refuse again, and another one may be the person's own.
CHOOSING = frozenset({Cause.UNKNOWN_COMPANY, Cause.COMPANY_DISABLED, Cause.NOT_A_MEMBER, Cause.OTHER_COMPANY})
