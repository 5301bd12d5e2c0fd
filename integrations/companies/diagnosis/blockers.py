"""Which failed check blocks another, so that one cause is reported once: network, token, address, app."""

from __future__ import annotations

from integrations.clients.errors import (
    BadRequestError,
    ConfigurationError,
    IntegrationError,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
    UnreadableSecretError,
)
from integrations.clients.explanations import Explanation
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import BRIEFLY, Finding, Status, failed

NETWORK, TOKEN, IP, AGENTID = "network", "token", "ip", "agentid"
IP_REFUSED = frozenset({errcodes.IP_NOT_TRUSTED, 301042})
OTHER_APP = frozenset({301002, 40056})
NOT_OF_AN_APP = 48002
APP_DISABLED = 50003

# Said by every check: `by` is the check that has to be put right first.
EXPLANATIONS = {
    "blocked": Explanation(_("Not tried: “%(by_label)s” has to be in order first.")),
    "unqueued": Explanation(
        _("The queue cannot be reached: is Valkey running?"),
        _("The administrator of this site."),
        _("Start Valkey, then try again. The health page /healthz says what does not answer."),
    ),
    "wrong_setting": Explanation(
        _("The API address, the proxy, the CA bundle or an encryption key is wrong."),
        _("The administrator of this site."),
        _("Check the fields under “Advanced”; the detail below says what did not fit."),
    ),
    "unreachable": Explanation(
        _("WeCom could not be reached, or did not answer in time."),
        _("The administrator of this server's network."),
        _("Check that the server reaches the API address, directly or through the proxy under “Advanced”."),
    ),
    "not_wecom": Explanation(
        _("What answered is not WeCom: a login page of the network, a proxy or another server."),
        _("The administrator of this server's network."),
        _("Check the API address and the proxy under “Advanced”."),
    ),
    "crashed": Explanation(
        _("The check itself failed: this is a mistake of the program."),
        _("The support of this product: this is a mistake of the program."),
        _("Export the diagnosis as text and send it to support."),
    ),
    "lost": Explanation(
        _("The worker that ran this check ended before it was done, and it is not run twice."),
        _("The administrator of this site."),
        _("Look whether the message arrived; then start it again."),
    ),
    "died": Explanation(
        _("Each worker that ran this check ended before it was done, so it was given up."),
        _("The administrator of this site."),
        _("Look into the worker's log, and whether it has memory enough; then start the check again."),
    ),
    "too_late": Explanation(
        _("Not sent: ten minutes after the click it would have surprised its reader."),
        _("The administrator of this site."),
        _("Send it again."),
    ),
}


def of_error(error: IntegrationError, *, check_name: str) -> Finding:
    """What `error` means to the check `check_name`: its own finding, or that another check comes first."""
    obstacle = _obstacle(error)
    if obstacle and obstacle != check_name:
        return failed(error, "blocked", Status.SKIPPED, heals=False, facts={"by": obstacle})
    if error.code is not None:
        return failed(error, "refused", Status.WRONG, heals=_may_heal(error, check_name))
    return failed(error, of_silence(error), Status.WRONG, heals=True)


def of_silence(error: IntegrationError) -> str:
    """The problem behind a failure in which WeCom gave no number."""
    if isinstance(error, TransientError):
        return "unreachable"
    return "wrong_setting" if isinstance(error, ConfigurationError) else "not_wecom"


def _obstacle(error: IntegrationError) -> str:
    if error.code is None:
        return NETWORK
    if error.operation == "gettoken" or isinstance(error, UnreadableSecretError):
        return TOKEN
    if error.code in IP_REFUSED:
        return IP
    if error.code in OTHER_APP or (error.code == NOT_OF_AN_APP and error.operation == "agent_get"):
        return AGENTID
    return ""


def _may_heal(error: IntegrationError, check_name: str) -> bool:
    """Whether trying again by itself is worth it, and allowed.

    Why not a limit? Asking again makes it longer: too many wrong Secrets block the address for an hour. Why not what
    nobody knows, or what is our mistake? WeCom asks for it, and the next answer would be the same.
    """
    if isinstance(error, RateLimitedError):
        return error.retry_after_seconds <= BRIEFLY[0].every.total_seconds()
    if check_name == TOKEN:
        return is_passing(error.code)
    if error.code in errcodes.STALE_TOKEN_CODES:  # refused although the token was new
        return False
    return not isinstance(error, UnexpectedResponseError | BadRequestError)


def is_passing(code: int | None) -> bool:
    """Whether gettoken may give a token soon though it has just refused one: the Secret is not what it refused.

    A disabled app may be enabled while somebody looks.
    """
    return code == APP_DISABLED or (code is not None and errcodes.error_class(code) is TransientError)
