"""What keeps a check from its own question, so that one cause is said once: network, token, address, app."""

from __future__ import annotations

from integrations.diagnosis.findings import Advice, Finding, Status, failed
from integrations.errors import ConfigurationError, IntegrationError, RateLimitedError, TransientError
from integrations.wecom import errcodes
from integrations.wecom.errcode_entry import gettext_noop as _

NETWORK, TOKEN, IP, AGENTID = "network", "token", "ip", "agentid"
IP_REFUSED = frozenset({errcodes.IP_NOT_TRUSTED, 301042})
OTHER_APP = frozenset({301002, 40056})
NOT_OF_AN_APP = 48002
APP_DISABLED = 50003

# Said by every check: `by` is the check that has to be put right first.
ADVICES = {
    "blocked": Advice(_("Not tried: “%(by_label)s” has to be in order first.")),
    "unqueued": Advice(
        _("The queue cannot be reached: is Valkey running?"),
        _("The administrator of this site."),
        _("Start Valkey, then try again. The health page /healthz says what does not answer."),
    ),
    "wrong_setting": Advice(
        _("The API address, the proxy, the CA bundle or an encryption key is wrong."),
        _("The administrator of this site."),
        _("Check the fields under “Advanced”; the detail below says what did not fit."),
    ),
    "unreachable": Advice(
        _("WeCom could not be reached, or did not answer in time."),
        _("The administrator of this server's network."),
        _("Check that the server reaches the API address, directly or through the proxy under “Advanced”."),
    ),
    "not_wecom": Advice(
        _("What answered is not WeCom: a login page of the network, a proxy or another server."),
        _("The administrator of this server's network."),
        _("Check the API address and the proxy under “Advanced”."),
    ),
    "crashed": Advice(
        _("The check itself failed: this is a mistake of the program."),
        _("The support of this product: this is a mistake of the program."),
        _("Export the diagnosis as text and send it to support."),
    ),
    "lost": Advice(
        _("The worker that ran this check ended before it was done, and it is not run twice."),
        _("The administrator of this site."),
        _("Look whether the message arrived; then start it again."),
    ),
}


def of_error(error: IntegrationError, *, asked_by: str) -> Finding:
    """What `error` means to the check `asked_by`: its own finding, or that another check comes first."""
    obstacle = _obstacle(error)
    if obstacle and obstacle != asked_by:
        return failed(error, "blocked", Status.SKIPPED, heals=False, facts={"by": obstacle})
    if error.code is not None:
        return failed(error, "refused", Status.WRONG, heals=asked_by != TOKEN or _passes_by_itself(error))
    return failed(error, of_silence(error), Status.WRONG, heals=True)


def of_silence(error: IntegrationError) -> str:
    """The problem behind a failure in which WeCom gave no number."""
    if isinstance(error, TransientError):
        return "unreachable"
    return "wrong_setting" if isinstance(error, ConfigurationError) else "not_wecom"


def _obstacle(error: IntegrationError) -> str:
    if error.code is None:
        return NETWORK
    if error.operation == "gettoken":
        return TOKEN
    if error.code in IP_REFUSED:
        return IP
    if error.code in OTHER_APP or (error.code == NOT_OF_AN_APP and error.operation == "agent_get"):
        return AGENTID
    return ""


def _passes_by_itself(error: IntegrationError) -> bool:
    """Why not a limit? Too many wrong Secrets block the address for an hour; asking again makes that longer.

    A disabled app may be enabled while somebody looks, and its Secret is not wrong.
    """
    if error.code == APP_DISABLED:
        return True
    return isinstance(error, TransientError) and not isinstance(error, RateLimitedError)
