"""Whether WeCom gives a token for CorpId and Secret."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from integrations.clients import testing_client, token_store
from integrations.diagnosis import obstacles
from integrations.diagnosis.findings import Advice, Check, Finding, Question, Status, failed, ok
from integrations.errors import IntegrationError, RateLimitedError, TransientError
from integrations.wecom import errcodes
from integrations.wecom.errcode_entry import gettext_noop as _

if TYPE_CHECKING:
    from integrations.models import Corp


def look(question: Question) -> Finding:
    """Why not the token that all processes share? It says nothing of the Secret. Passing ends their pause."""
    try:
        testing_client(question.corp).fetch_token()
    except IntegrationError as error:
        if isinstance(error, RateLimitedError) and error.code == errcodes.RATE_LIMITED:
            until = question.now + timedelta(seconds=error.retry_after_seconds)
            return failed(error, "held", Status.WRONG, heals=False, facts={"until": until.isoformat()})
        return obstacles.of_error(error, asked_by=obstacles.TOKEN)
    _end_pause(question.corp)
    return ok("given")


def _end_pause(corp: Corp) -> None:
    with suppress(TransientError):  # without Valkey there is no pause that could be ended
        store = token_store()
        if store.pause(corp.corpid, corp.agentid) is not None:
            store.forget(corp.corpid, corp.agentid)


_LIMIT = errcodes.explain(errcodes.RATE_LIMITED, operation="gettoken")
CHECK = Check(
    name=obstacles.TOKEN,
    label=_("Token"),
    purpose=_("Fetches a token with the saved CorpId and Secret."),
    look=look,
    advices={
        "given": Advice(_("WeCom gives a token for this CorpId and Secret.")),
        "held": Advice(
            _(
                "WeCom gives this server no token until about %(until)s: too many were asked for, or with a wrong "
                "Secret."
            ),
            _LIMIT.who,
            _LIMIT.where,
        ),
    },
)
