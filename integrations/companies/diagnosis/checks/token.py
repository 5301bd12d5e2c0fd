"""Whether WeCom gives a token for CorpId and Secret."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from integrations.clients.errors import IntegrationError, RateLimitedError, TransientError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    BlockingCheck,
    Check,
    Finding,
    Question,
    Status,
    fail,
    judge_error,
    ok,
)
from integrations.core.client_factory import testing_client, wecom_client

if TYPE_CHECKING:
    from integrations.models import Corp


def run(question: Question) -> Finding:
    """The token that all processes share says nothing of the Secret: another one is asked for, for all of them."""
    try:
        _try_secret(question.corp)
    except IntegrationError as error:
        if isinstance(error, RateLimitedError) and error.code == errcodes.RATE_LIMITED:
            until = question.now + timedelta(seconds=error.retry_after_seconds)
            return fail(error, "held", Status.WRONG, heals=False, facts={"until": until.isoformat()})
        return judge_error(error, check_name=BlockingCheck.TOKEN)
    return ok("given")


def _try_secret(corp: Corp) -> None:
    try:
        wecom_client(corp).renew_token()
    except TransientError as error:
        if error.system != "valkey":
            raise
        testing_client(corp).renew_token()


_LIMIT = errcodes.explain(errcodes.RATE_LIMITED, operation="gettoken")
CHECK = Check(
    name=BlockingCheck.TOKEN,
    label=_("Token"),
    purpose=_("Fetches a token with the saved CorpId and Secret."),
    run=run,
    explanations={
        "given": Explanation(_("WeCom gives a token for this CorpId and Secret.")),
        "held": Explanation(
            _(
                "WeCom gives this server no token until about %(until)s: too many were asked for, or with a wrong "
                "Secret."
            ),
            _LIMIT.who,
            _LIMIT.where,
        ),
    },
)
