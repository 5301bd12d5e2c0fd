"""Test message to one person whom an administrator chose, with the receipt."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext

from integrations.clients.errors import Explanation, OutcomeUnknownError, RecipientError
from integrations.clients.wecom.builders import (
    EVERYBODY,
    MessageError,
    Recipients,
    app_message,
    body_bytes,
    check_bytes,
    text_content,
)
from integrations.clients.wecom.errcodes.entry import SITE_ADMIN, WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    Check,
    Finding,
    Question,
    Status,
    fail,
    ok,
    warning,
    wrong,
)
from integrations.core.client_factory import wecom_client

USERID_BYTES_AT_MOST = 64
# WeCom drops a message for its text, too: the company's name stands in it, and may hold what its rules refuse.
REFUSED_TEXT = frozenset({40201, 82004, 85002})


def check_userid(userid: str) -> None:
    """Raise MessageError for what is not one person's account: nobody, everybody, several."""
    if userid == EVERYBODY:
        raise MessageError("touser", "one person, not everybody")
    check_bytes("touser", userid, USERID_BYTES_AT_MOST)
    Recipients([userid]).check()


def send_test_message(question: Question) -> Finding:
    """Send once, whatever comes back: an unclear outcome is said and never repeated. `subject`: the userid."""
    to = question.subject
    try:
        result = wecom_client(question.corp).message_send(_write_body(question))
    except OutcomeUnknownError as error:
        return fail(error, "unclear", Status.WARNING, heals=False, facts={"to": to})
    except RecipientError as error:
        problem = "nobody"
        if error.unlicensed_userids:
            problem = "unlicensed"
        elif error.code in REFUSED_TEXT:
            problem = "refused"
        return fail(error, problem, Status.WRONG, heals=False, facts={"to": to, "msgid": "-"})
    facts = {"to": to, "msgid": result.msgid[:255]}
    if result.unlicensed_userids:
        return wrong("unlicensed", facts, heals=False)
    if result.invalid_userids:
        return wrong("nobody", facts, heals=False)
    return warning("with_warning", facts) if result.warning else ok("accepted", facts)


def _write_body(question: Question) -> bytes:
    """Make the text unique by time and number: WeCom drops an identical message in silence."""
    with translation.override(settings.LANGUAGE_CODE):
        local = timezone.localtime(question.now)
        text = gettext("Test message from “%(corp)s” (%(time)s, no. %(number)s). It needs no answer.") % {
            "corp": question.corp.name,
            "time": f"{local:%Y-%m-%d %H:%M:%S}",
            "number": question.run_id,
        }
    to = Recipients([question.subject])
    return body_bytes(app_message(agentid=question.corp.agentid, to=to, content=text_content(text)))


MESSAGE = Check(
    name="message",
    label=_("Test message"),
    purpose=_("Sends a message to a person of your choice."),
    run=send_test_message,
    explanations={
        "accepted": Explanation(_("WeCom accepted the message to %(to)s (msgid %(msgid)s). Look at the phone.")),
        "with_warning": Explanation(_("WeCom accepted the message to %(to)s with a warning (msgid %(msgid)s).")),
        "unclear": Explanation(
            _("It is not known whether the message to %(to)s went out: WeCom's answer was lost."),
            SITE_ADMIN,
            _("Look at the phone before you send another one."),
        ),
        "nobody": Explanation(
            _("%(to)s cannot receive the message: WeCom knows no such account, or it is outside the visible scope."),
            SITE_ADMIN,
            _("Take the account from WeCom's console → Contacts → the member → Account, and check the visible scope."),
        ),
        "unlicensed": Explanation(
            _("%(to)s has no interface licence, so the message was not delivered (msgid %(msgid)s)."),
            WECOM_ADMIN,
            _("WeCom's console → App management → the app → Interface licence."),
        ),
    },
    retries=(),
    is_repeatable=False,
)
