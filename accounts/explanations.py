"""Explains to people why a sign-in stopped, why a member is linked with nobody, and why an import refused a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext_noop as _

from accounts.authentication.flow import Cause
from accounts.importexport.sheets import name_column
from accounts.models import LinkConflict
from accounts.models.attributes import REFUSALS
from accounts.users.roles import sees_all
from integrations.clients.errors import Explanation

if TYPE_CHECKING:
    from integrations.models.fields import Person


# --- Pages of a sign-in that stopped ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide(Explanation):
    """Texts of one error page, in English. `what` and `who` may contain %(corp)s (the company), %(missing)s (the value
    that the person lacks) and %(where)s (who sets it). `is_signed_in`: the page does not offer to sign in again."""

    title: str
    status: int = 403
    is_signed_in: bool = False


_ASK_ADMINISTRATOR = _("An administrator of this site can fix it. Please send them this page.")

GUIDES: dict[Cause, Guide] = {
    Cause.UNKNOWN_COMPANY: Guide(
        status=404,
        title=_("This company is not connected"),
        what=_("The link names a WeCom company that this site does not know (any more)."),
        who=_("Choose your company on the login page. If the link is in WeCom, an administrator must correct it."),
    ),
    Cause.COMPANY_DISABLED: Guide(
        title=_("Sign-in with WeCom is switched off"),
        what=_("An administrator has switched off sign-in with WeCom for “%(corp)s”."),
        who=_("An administrator can switch it on again in the administration, under WeCom configuration."),
    ),
    Cause.NOT_LINKED: Guide(
        title=_("Your WeCom account is not linked yet"),
        what=_("WeCom has confirmed who you are, but nobody on this site is linked with your account in “%(corp)s”."),
        who=_(
            "Ask a system administrator of this site, and send them the account below. They enter it on your page "
            "in the administration as “WeCom account”, with “WeCom company name” set to “%(corp)s”."
        ),
    ),
    Cause.COMPANY_MISSING: Guide(
        title=_("Your WeCom company name is missing"),
        what=_(
            "Somebody on this site has your WeCom account, but the attribute “WeCom company name” beside it is empty."
        ),
        who=_("An administrator must choose “%(corp)s” as “WeCom company name” on your page in the administration."),
    ),
    Cause.OUT_OF_SCOPE: Guide(
        title=_("You are outside the app's visible scope"),
        what=_(
            "In the WeCom company “%(corp)s” this app is not visible to you, or your account is disabled there. WeCom "
            "itself says: 你暂无权限登陆此应用."
        ),
        who=_(
            "Your company's WeCom administrator can add you in WeCom's console: App management → the app → "
            "Visible scope, or enable your account under Contacts. After that, sign in again."
        ),
    ),
    Cause.NOT_ADMITTED: Guide(
        title=_("An administrator must confirm your WeCom account"),
        what=_(
            "Your account had been deleted in “%(corp)s”. It could belong to somebody else now, "
            "so you cannot sign in with it yet."
        ),
        who=_("An administrator of this site can confirm it in the administration, under Members."),
    ),
    Cause.NOT_A_MEMBER: Guide(
        title=_("You are not a member of this company"),
        what=_("WeCom does not know you as a member of “%(corp)s”, so you cannot sign in for this company."),
        who=_(
            "Choose another company if you have one, or ask your company's WeCom administrator to add you as a member."
        ),
    ),
    Cause.OTHER_COMPANY: Guide(
        title=_("You belong to another company"),
        what=_("Your WeCom account belongs to a company that is linked with “%(corp)s”, not to “%(corp)s” itself."),
        who=_("Choose your own company on the login page. If it is not listed, ask an administrator of this site."),
    ),
    Cause.USER_DISABLED: Guide(
        title=_("Your access is disabled"),
        what=_("Your WeCom account is linked, but your access to this site is disabled."),
        who=_("An administrator of this site can enable it on your page in the administration."),
    ),
    Cause.CODE_EXPIRED: Guide(
        title=_("This sign-in has expired"),
        what=_(
            "WeCom's proof of who you are works once and for five minutes. This one was used already or came too late."
        ),
        who=_("Start again: it takes one tap."),
    ),
    Cause.SIGN_IN_EXPIRED: Guide(
        title=_("The sign-in could not be completed"),
        what=_("It was not started in this browser, or more than five minutes ago. For your safety it was not used."),
        who=_(
            "Start again. If this page comes back, close WeCom or the browser completely and open the link once more."
        ),
    ),
    Cause.COOKIES_BLOCKED: Guide(
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
            "Please try again in a minute. If it lasts, an administrator must check the connection from this server "
            "to WeCom."
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
        what=_("This page belongs to the BI, and this site is not connected with it at the moment."),
        who=_("An administrator of this site can connect it in the administration, under Guandata BI."),
        is_signed_in=True,
    ),
    Cause.BI_NO_PAGE: Guide(
        status=404,
        title=_("There is no such page in the BI"),
        what=_("The link is not complete or was changed on its way: no page of the BI has such an address."),
        who=_("Ask the sender of the link for a new one, or begin at the BI's first page."),
        is_signed_in=True,
    ),
    Cause.BI_NOT_ALLOWED: Guide(
        title=_("You cannot enter the BI from here"),
        what=_("Sign-in to the BI is switched off for your company, or no company is set for you."),
        who=_(
            "An administrator of this site can switch it on in the administration, under WeCom configuration, or "
            "set your company on your page there."
        ),
        is_signed_in=True,
    ),
    Cause.BI_NO_EXTERNAL_ID: Guide(
        title=_("Your account in the BI is not known yet"),
        what=_("This site passes you on to the BI by your “%(missing)s”, and you have none that is yours alone."),
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
            "More people are signing in from this network, or for this company, than this site accepts within a minute."
        ),
        who=_(
            "Please try again in a minute. If it lasts, the operator of this server can raise SIGN_INS_PER_ADDRESS, "
            "the limit of a network. The limit of a company is fixed."
        ),
    ),
}

# Causes whose page offers to choose another company, since a sign-in through the same company would fail again.
CAUSES_WITH_COMPANY_CHOICE = frozenset(
    {Cause.UNKNOWN_COMPANY, Cause.COMPANY_DISABLED, Cause.NOT_A_MEMBER, Cause.OTHER_COMPANY}
)


# --- A member whom the directory links with nobody --------------------------------------------------------------------

Reason = LinkConflict.Reason
# Reasons that reveal only the company's own members. Everybody who sees the members may filter by them.
REASONS_ABOUT_MEMBERS = frozenset({Reason.SHARED, Reason.CAME_BACK})
# Reasons about a visible person that reveal nobody else.
_REASONS_ABOUT_THE_PERSON = frozenset({Reason.PROTECTED, Reason.PASSWORD_ONLY, Reason.DISABLED, Reason.OTHER_ACCOUNT})


def explain_missing_link(person: Person, reason: str, *, sees_the_other: bool = False) -> str:
    """Explain to `person` why a member is not linked with anybody.

    `sees_the_other`: the reason is about a person whom `person` sees. Administrators of some companies read the same
    sentence whether nobody matches or only a person whom they do not see: otherwise it would reveal that somebody in
    another company has this userid or e-mail address."""
    harmless = REASONS_ABOUT_MEMBERS | _REASONS_ABOUT_THE_PERSON if sees_the_other else REASONS_ABOUT_MEMBERS
    if sees_all(person) or reason in harmless:
        return str(Reason(reason).label)
    return gettext("the directory has not linked this member; administrators of all companies see why")


# --- A file or row that an import refuses -----------------------------------------------------------------------------

_FILES = {
    "password": gettext_lazy("The file is protected by a password. Save it without one and upload it again."),
    "old_excel": gettext_lazy("This is an old Excel file (.xls). Save it as .xlsx and upload it again."),
    "no_xlsx": gettext_lazy("The file cannot be read as xlsx. Save it again in Excel or WPS as .xlsx, then upload it."),
    "no_text": gettext_lazy("The file is neither xlsx nor a csv in UTF-8 or GBK."),
    "broken": gettext_lazy(
        "The csv is broken from line %(line)s on: a quotation mark is missing, or a cell is far too long."
    ),
    "too_big": gettext_lazy(
        "The file is too large when unpacked. Keep only the columns that you need, without pictures, and upload it "
        "again."
    ),
    "many_sheets": gettext_lazy("The file has more than %(count)s sheets. Keep the one with the people."),
    "several_sheets": gettext_lazy("Several sheets hold people (%(sheets)s). Keep one of them."),
    "many_rows": gettext_lazy("There are more than %(count)s rows. Divide the file."),
    "no_header": gettext_lazy(
        "No header was found in the first %(count)s rows. One row must name the columns: “username”, or “帐号” as in "
        "the file of WeCom's console, or “loginId” as in the list of the BI's users, and one more."
    ),
    "column_twice": gettext_lazy("The column “%(column)s” occurs twice."),
    "no_rows": gettext_lazy("There are no people below the header."),
    "company_missing": gettext_lazy(
        "The file does not say to which company the accounts belong. Upload it again and choose the company."
    ),
    "match_missing": gettext_lazy("The file lacks the column by which people are to be found."),
    "not_allowed": gettext_lazy("The person who uploaded the file may no longer change people."),
    "confirmer_not_allowed": gettext_lazy("The person who confirmed the import may no longer change people."),
    "gave_up": gettext_lazy(
        "It was started several times, and each time the program ended before it was done. Look into the worker's "
        "log, then upload the file again."
    ),
    "restored": gettext_lazy(
        "The database was restored from a backup before this was finished. Upload the file again."
    ),
    "row_refused": gettext_lazy("Row %(row)s is refused now, so nothing was changed. See the row for why."),
}
_ROWS = {
    "formula": gettext_lazy("“%(column)s” contains a formula. Paste it as a value."),
    "error_cell": gettext_lazy("“%(column)s” contains an Excel error."),
    "merged": gettext_lazy("“%(column)s” is part of merged cells. Split them."),
    "rounded": gettext_lazy(
        "Excel has rounded the number in “%(column)s”. Format the column as text and enter the number again."
    ),
    "scientific": gettext_lazy(
        "Excel has shortened the number in “%(column)s”, such as 1.38E+10. Enter it again, as text."
    ),
    "long_cell": gettext_lazy("The text in “%(column)s” is too long."),
    "no_key": gettext_lazy("The row does not say which person it is about."),
    "nobody": gettext_lazy(
        "No person whom you may change matches. To create missing people, tick “create people who are missing” when "
        "you upload the file."
    ),
    "not_creator": gettext_lazy("The person is missing, and you may not create people."),
    "username_taken": gettext_lazy("This username belongs to a person whom you may not change."),
    "bad_username": gettext_lazy("“%(value)s” cannot be a username: letters, digits and @/./+/-/_ only, at most 150."),
    "several": gettext_lazy("Several people match."),
    "twice_person": gettext_lazy("The person is in row %(row)s already."),
    "twice_account": gettext_lazy("The WeCom account is in row %(row)s already."),
    "twice_value": gettext_lazy("A value that only one person may have is in row %(row)s already."),
    "unknown_company": gettext_lazy("There is no WeCom company “%(company)s”."),
    "no_company": gettext_lazy("The row does not say to which company the account belongs."),
    "company_needed": gettext_lazy(
        "Without a company you would not see the person any more. To end sign-in with WeCom, empty the account."
    ),
    "other_account": gettext_lazy("The person has another account in “%(company)s”."),
    "account_taken": gettext_lazy(
        "The WeCom account belongs to %(person)s already. To exchange accounts, empty them with one file and set them "
        "with the next."
    ),
    "bad_text": gettext_lazy("“%(column)s” is too long (at most %(count)s characters) or has invisible characters."),
    "bad_email": gettext_lazy("“%(value)s” is not an e-mail address."),
    "bad_value": gettext_lazy("“%(column)s”: %(why)s"),
    "value_taken": gettext_lazy(
        "“%(value)s” belongs to %(person)s already. To exchange values between people, empty them with one file and "
        "set them with the next."
    ),
    "not_yours": gettext_lazy("“%(column)s” is set by administrators of all companies only."),
    "changed_meanwhile": gettext_lazy("Somebody has changed the person since the check."),
}


def explain_import(reason: str, words: dict[str, Any]) -> str:
    """Explain why a file or a row was refused, or why an import stopped. `reason`, `words`: the stored fields."""
    if reason in _FILES:
        return str(_FILES[reason]) % words
    if reason not in _ROWS:
        return reason
    values = {"person": gettext("somebody else"), **words}
    if reason == "bad_text":
        values["column"] = name_column(str(words["column"]), {})
    if reason == "bad_value":
        values["why"] = str(REFUSALS[words["code"]]) % words["params"]
    return str(_ROWS[reason]) % values
