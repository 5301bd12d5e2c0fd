"""Texts about an import, in the active language: why a file or row is refused, what columns mean."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_lazy

from accounts.audit.signals import label_of_field
from accounts.importexport.columns import ATTRIBUTE, BIZ_MAIL, COMPANY, USERID
from accounts.models import Attribute, User, WeComAccount
from accounts.models.attributes import REFUSALS

_ = gettext_lazy

_FILES = {
    "password": _("The file is protected by a password. Save it without one and upload it again."),
    "old_excel": _("This is an old Excel file (.xls). Save it as .xlsx and upload it again."),
    "no_xlsx": _("The file is no xlsx that could be read. Save it anew in Excel or WPS as .xlsx and upload it again."),
    "no_text": _("The file is neither xlsx nor a csv in UTF-8 or GBK."),
    "broken": _("The csv is broken from line %(line)s on: a quotation mark is missing, or a cell is far too long."),
    "too_big": _(
        "The file would unfold to too much. Keep the columns that you need, without pictures, and upload that."
    ),
    "many_sheets": _("The file has more than %(count)s sheets. Keep the one with the people."),
    "several_sheets": _("Several sheets hold people (%(sheets)s). Keep one of them."),
    "many_rows": _("There are more than %(count)s rows. Divide the file."),
    "no_header": _(
        "No header was found in the first %(count)s rows. One row must name the columns: “username”, or “帐号” as in "
        "the file of WeCom's console, or “loginId” as in the list of the BI's users, and one more."
    ),
    "column_twice": _("The column “%(column)s” stands there twice."),
    "no_rows": _("Below the header there is nobody."),
    "company_missing": _(
        "The file does not say of which company the accounts are. Upload it again and choose the company."
    ),
    "match_missing": _("The file has no column of that by which people are to be found."),
    "not_allowed": _("Who has uploaded the file may not change people any more."),
    "confirmer_not_allowed": _("Who has confirmed the import may not change people any more."),
    "gave_up": _("It was begun several times, and each time the program ended. Look into the worker's log."),
    "row_refused": _("Row %(row)s is refused now, so nothing was changed. See the row for why."),
}
_ROWS = {
    "formula": _("There is a formula in “%(column)s”. Paste it as a value."),
    "error_cell": _("There is an error of Excel in “%(column)s”."),
    "merged": _("“%(column)s” is part of merged cells. Split them."),
    "rounded": _("Excel has rounded the number in “%(column)s”. Format the column as text and enter it anew."),
    "scientific": _("Excel has shortened the number in “%(column)s”, such as 1.38E+10. Enter it anew, as text."),
    "long_cell": _("The text in “%(column)s” is too long."),
    "no_key": _("Nothing says whom this row is about."),
    "nobody": _("No user whom you may change fits. An import changes users and creates none."),
    "several": _("Several people fit."),
    "twice_person": _("The person stands in row %(row)s already."),
    "twice_account": _("The WeCom account stands in row %(row)s already."),
    "twice_value": _("A value that belongs to one person stands in row %(row)s already."),
    "unknown_company": _("There is no WeCom company “%(company)s”."),
    "no_company": _("The row does not say of which company the account is."),
    "company_needed": _(
        "Without a company you would not see the person any more. To take away sign-in, empty the account."
    ),
    "other_account": _("The person has another account in “%(company)s”."),
    "account_taken": _(
        "The WeCom account belongs to %(person)s already. To exchange accounts, empty them with one file and set them "
        "with the next."
    ),
    "bad_text": _("“%(column)s” is too long (at most %(count)s characters) or has invisible characters."),
    "bad_email": _("“%(value)s” is no e-mail address."),
    "bad_value": _("“%(column)s”: %(why)s"),
    "value_taken": _(
        "“%(value)s” belongs to %(person)s already. To exchange values between people, empty them with one file and "
        "set them with the next."
    ),
    "not_yours": _("“%(column)s” is set by administrators of all companies only."),
    "changed_meanwhile": _("Somebody has changed the person since the check."),
}


def file_reason(reason: str, words: dict[str, Any]) -> str:
    """Why a file was refused, or an import stopped; empty where neither is so."""
    return str(_FILES[reason]) % words if reason in _FILES else ""


def row_reason(reason: str, words: dict[str, Any]) -> str:
    """Why a row was refused, as a sentence. `words`: what ImportRow keeps for it."""
    if reason not in _ROWS:
        return reason
    known = {"person": gettext("somebody else"), **words}
    if reason == "bad_text":
        known["column"] = label_of(str(words["column"]), {})
    if reason == "bad_value" and "code" in words:  # rows of releases before have the sentence itself
        known["why"] = str(REFUSALS[words["code"]]) % words["params"]
    return str(_ROWS[reason]) % known


def labels() -> dict[str, str]:
    """Names of the attributes, by what a column means."""
    return {f"{ATTRIBUTE}{key}": name for key, name in Attribute.objects.values_list("key", "name")}


def label_of(target: str, names: dict[str, str]) -> str:
    """What a column means. `names`: of labels()."""
    if target in names:
        return names[target]
    if target in {COMPANY, USERID}:
        return label_of_field(WeComAccount, "corp" if target == COMPANY else "userid")
    if target == BIZ_MAIL:
        return gettext("business e-mail")
    return target.removeprefix(ATTRIBUTE) if target.startswith(ATTRIBUTE) else label_of_field(User, target)
