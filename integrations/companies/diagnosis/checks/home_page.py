"""Whether the app's home page in WeCom is the link that we give."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies import links
from integrations.companies.diagnosis.findings import (
    FACT_AT_MOST,
    Check,
    Finding,
    Question,
    clip,
    judge_error,
    ok,
    warning,
    wrong,
)
from integrations.core.client_factory import wecom_client
from integrations.models import Corp

NAME = "home_page"
# The parts of the link that are compared as they are; redirect_uri may lead to any inner page.
_PARTS = ("appid", "agentid", "response_type", "scope")


def run(question: Question) -> Finding:
    corp = question.corp
    try:
        agent = wecom_client(corp).agent_get()
    except IntegrationError as error:
        return judge_error(error, check_name=NAME)
    return judged(corp, agent.home_url)


def judged(corp: Corp, found: str) -> Finding:
    """The finding for the home page that WeCom has. Any inner page of ours will do."""
    ours = links.home_page_link(corp)
    theirs = found.strip()
    facts = {"ours": ours, "theirs": clip(theirs, FACT_AT_MOST)}
    if theirs == ours:
        return ok("equal", facts)
    if not theirs:
        return wrong("missing", facts)
    if not theirs.lower().startswith(("http://", "https://")):
        return wrong("no_scheme", facts)
    if theirs == links.plain_login_url(corp):
        return warning("plain", facts, heals=True)
    if not corp.sign_in_enabled:
        return wrong("other", facts)
    parts = differing_parts(ours, theirs)
    return wrong("differs", {**facts, "parts": ", ".join(parts)}) if parts else ok("inner_page", facts)


def differing_parts(ours: str, theirs: str) -> list[str]:
    """The names of what differs between two home page links; empty where they differ in the inner page only."""
    try:
        left, right = urlsplit(ours), urlsplit(theirs)
        left_query, right_query = parse_qs(left.query), parse_qs(right.query)
    except ValueError:
        return ["address"]
    found = [] if left[:3] == right[:3] else ["address"]
    found += [name for name in _PARTS if left_query.get(name) != right_query.get(name)]
    found += _page_differs(left_query.get("redirect_uri", [""]), right_query.get("redirect_uri", [""]))
    return found + ([] if left.fragment == right.fragment else ["#wechat_redirect"])


def _page_differs(ours: list[str], theirs: list[str]) -> list[str]:
    """Without the query, which holds the inner page; the rest, and the domain, must be ours."""
    if len(theirs) != 1:
        return ["redirect_uri"]
    left, right = ours[0].partition("?"), theirs[0].partition("?")
    if left[0] != right[0]:
        return ["redirect_uri"]
    return [] if parse_qs(left[2]).get("domain") == parse_qs(right[2]).get("domain") else ["domain"]


_WHERE = _("WeCom's console → App management → the app → Workbench app home page: paste this link.")
CHECK = Check(
    name=NAME,
    label=_("Home page link"),
    purpose=_("Compares the app's home page in WeCom with the link that this site gives."),
    run=run,
    subject=links.home_page_link,
    explanations={
        "equal": Explanation(_("The home page in WeCom is the link of this site.")),
        "inner_page": Explanation(_("The home page in WeCom is a link of this site, with an inner page of its own.")),
        "missing": Explanation(_("The app has no home page in WeCom: a tap on it leads nowhere."), WECOM_ADMIN, _WHERE),
        "no_scheme": Explanation(
            _("The home page in WeCom begins with neither http:// nor https://: %(theirs)s"), WECOM_ADMIN, _WHERE
        ),
        "plain": Explanation(
            _(
                "The home page in WeCom is the plain login address. It signs people in inside WeCom, too, but with "
                "several companies they may have to choose theirs."
            ),
            WECOM_ADMIN,
            _WHERE,
        ),
        "other": Explanation(_("The home page in WeCom is another one: %(theirs)s"), WECOM_ADMIN, _WHERE),
        "differs": Explanation(
            _("The home page in WeCom differs from the link of this site in: %(parts)s. It is %(theirs)s"),
            WECOM_ADMIN,
            _WHERE,
        ),
    },
    copied="ours",
)
