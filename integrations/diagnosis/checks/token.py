"""Whether WeCom gives a token for CorpId and Secret."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from integrations.clients import testing_client, token_store
from integrations.diagnosis import obstacles
from integrations.diagnosis.findings import Advice, Check, Finding, Question, ok
from integrations.errors import IntegrationError, TransientError
from integrations.wecom.errcode_entry import gettext_noop as _

if TYPE_CHECKING:
    from integrations.models import Corp


def look(question: Question) -> Finding:
    """Why not the token that all processes share? It says nothing of the Secret. Passing ends their pause."""
    try:
        testing_client(question.corp).fetch_token()
    except IntegrationError as error:
        return obstacles.of_error(error, asked_by=obstacles.TOKEN)
    _end_pause(question.corp)
    return ok("given")


def _end_pause(corp: Corp) -> None:
    with suppress(TransientError):  # without Valkey there is no pause that could be ended
        store = token_store()
        if store.pause(corp.corpid, corp.agentid) is not None:
            store.forget(corp.corpid, corp.agentid)


CHECK = Check(
    name=obstacles.TOKEN,
    label=_("Token"),
    purpose=_("Fetches a token with the saved CorpId and Secret."),
    look=look,
    advices={"given": Advice(_("WeCom gives a token for this CorpId and Secret."))},
)
