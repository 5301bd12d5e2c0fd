"""Whether the callback address of the app answers WeCom's check, and whether WeCom has made that check."""

from __future__ import annotations

from integrations.clients.errors import ConfigurationError, TransientError
from integrations.clients.explanations import Explanation
from integrations.clients.site import Page, SiteClient
from integrations.clients.wecom.errcodes.entry import NETWORK_ADMIN, WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies import callbacks
from integrations.companies.diagnosis.findings import Check, Finding, Question, ok, skip, warning, wrong
from integrations.core.client_factory import callback_crypto
from integrations.models import CallbackEvent, Corp

NAME = "callback"
KIND = CallbackEvent.Kind.APP


def run(question: Question) -> Finding:
    corp = question.corp
    crypto = callback_crypto(corp, KIND)
    if crypto is None:
        return skip("no_keys")
    url = callbacks.callback_url(corp, KIND)
    test = callbacks.own_check(crypto, url=url, now=question.now)
    try:
        page = SiteClient().fetch(test.url)
    except ConfigurationError as error:
        return wrong("untrusted", {"url": url}, detail=error.message)
    except TransientError as error:
        return wrong("unreachable", {"url": url}, detail=error.message)
    problem = mistake(page, test.answer)
    if problem:
        return wrong(problem, {"url": url}, detail=f"HTTP {page.status}")
    return _of_wecom(question, url)


def mistake(page: Page, answer: bytes) -> str:
    """What is wrong with an answer to the check; empty for the right one."""
    if 300 <= page.status < 400:
        return "redirected"
    if page.status != 200:
        return "wrong_status"
    return "" if page.content == answer else "wrong_content"


def _of_wecom(question: Question, url: str) -> Finding:
    address = next(one for one in callbacks.addresses(question.corp, now=question.now) if one.kind == KIND)
    if address.verified_at is None:
        return warning("unverified", {"url": url}, heals=True)
    return warning("outdated", {"url": url}, heals=True) if address.is_outdated else ok("verified", {"url": url})


def subject(corp: Corp) -> str:
    return callbacks.callback_url(corp, KIND)


_TO_RECEPTION = _("WeCom's console → App management → the app → Receive messages: save URL, Token and EncodingAESKey.")
CHECK = Check(
    name=NAME,
    label=_("Callback address"),
    purpose=_("Asks the callback address at the public address, signed as WeCom signs, and compares the answer."),
    run=run,
    subject=subject,
    explanations={
        "verified": Explanation(_("The callback address answers rightly, and WeCom has verified it.")),
        "no_keys": Explanation(
            _("No Token and EncodingAESKey are generated: nothing is received from WeCom, which not everybody needs."),
            WECOM_ADMIN,
            _("Generate them under “Receiving messages” if buttons, menus or directory changes are to be heard."),
        ),
        "unverified": Explanation(
            _("The callback address answers rightly, but WeCom has not verified it yet."), WECOM_ADMIN, _TO_RECEPTION
        ),
        "outdated": Explanation(
            _("The site address was changed after WeCom verified the callback address."), WECOM_ADMIN, _TO_RECEPTION
        ),
        "wrong_status": Explanation(
            _("%(url)s answers, but refuses the check: the request does not arrive at this site as it was sent."),
            NETWORK_ADMIN,
            _("Let the reverse proxy pass /wecom/ on to this site, with its query and Host header as they come."),
        ),
        "wrong_content": Explanation(
            _("Something else answers at %(url)s: a login page, or another server."),
            NETWORK_ADMIN,
            _("Let the reverse proxy pass /wecom/ on to this site, with its query and Host header as they come."),
        ),
        "redirected": Explanation(
            _("%(url)s sends the visitor elsewhere; WeCom does not follow."),
            NETWORK_ADMIN,
            _("If it leads from http:// to https://, save the site address with https://."),
        ),
        "untrusted": Explanation(
            _("The certificate of %(url)s is not trusted."),
            NETWORK_ADMIN,
            _("Install a valid certificate of a public authority for this host name, with its intermediate ones."),
        ),
        "unreachable": Explanation(
            _("%(url)s cannot be reached from this server, or did not answer in time."),
            NETWORK_ADMIN,
            _("Check the DNS entry of the host name, the firewall and the reverse proxy."),
        ),
    },
    copied="url",
)
