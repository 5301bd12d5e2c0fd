"""Whether the saved proxy lets this server through to WeCom."""

from __future__ import annotations

from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import NETWORK_ADMIN, SITE_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import Check, Finding, Question, ok, skip, wrong
from integrations.core.client_factory import network_client

_WANTS_PASSWORD = frozenset({401, 407})


def run(question: Question) -> Finding:
    if not question.corp.proxy_url:
        return skip("none")
    journey = network_client(question.corp).travel()
    facts = {"host": journey.host, "port": journey.port, "reason": journey.reason}
    if journey.failed_at == "proxy":
        problem = "password" if journey.proxy_status in _WANTS_PASSWORD else "refuses"
        return wrong(problem, facts, detail=f"HTTP {journey.proxy_status}")
    if journey.failed_at in {"dns", "tcp"}:
        return wrong("unreachable", facts, detail=f"{journey.failed_at}: {journey.reason}")
    if journey.failed_at == "http":
        return wrong("silent", facts, detail=f"http: {journey.reason}")
    return ok("passes", facts)


CHECK = Check(
    name="proxy",
    label=_("Proxy"),
    purpose=_("Goes through the saved proxy, if there is one."),
    run=run,
    explanations={
        "none": Explanation(_("No proxy is set: this server calls WeCom directly.")),
        "passes": Explanation(_("The proxy %(host)s, port %(port)s, lets this server through.")),
        "password": Explanation(
            _("The proxy %(host)s wants a user name and password, or refuses those that are saved."),
            SITE_ADMIN,
            _("Enter the proxy under “Advanced” again: http://user:password@host:port."),
        ),
        "refuses": Explanation(
            _("The proxy %(host)s refuses the way to WeCom (%(reason)s)."),
            NETWORK_ADMIN,
            _("Have qyapi.weixin.qq.com, port 443, allowed in the proxy's rules."),
        ),
        "unreachable": Explanation(
            _("The proxy %(host)s cannot be reached at port %(port)s: %(reason)s."),
            NETWORK_ADMIN,
            _("Start the proxy, or correct its address under “Advanced”."),
        ),
        "silent": Explanation(
            _("The proxy %(host)s takes the connection and does not answer: %(reason)s."),
            NETWORK_ADMIN,
            _("Look into the proxy's log."),
        ),
    },
)
