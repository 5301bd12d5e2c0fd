"""Whether AgentId and Secret belong to one app, and not to the contacts assistant."""

from __future__ import annotations

from integrations.clients import wecom_client
from integrations.diagnosis import obstacles
from integrations.diagnosis.findings import Advice, Check, Finding, Question, Status, clipped, failed, ok, wrong
from integrations.errors import IntegrationError
from integrations.models import Corp
from integrations.wecom.errcode_entry import SITE_ADMIN
from integrations.wecom.errcode_entry import gettext_noop as _


def look(question: Question) -> Finding:
    corp = question.corp
    try:
        agent = wecom_client(corp).agent_get()
    except IntegrationError as error:
        return _of_error(corp, error)
    if agent.agentid != corp.agentid:
        return wrong("other_app", {"theirs": agent.agentid}, heals=False)
    return ok("named", {"app_name": clipped(agent.name, 128)})


def _of_error(corp: Corp, error: IntegrationError) -> Finding:
    if error.operation == "gettoken" or error.code is None:
        return obstacles.of_error(error, asked_by=obstacles.AGENTID)
    if error.code in obstacles.OTHER_APP:
        return failed(error, "other_app", Status.WRONG, heals=False)
    if error.code == obstacles.NOT_OF_AN_APP:
        problem = "contacts_secret" if _is_contacts_assistant(corp) else "no_app"
        return failed(error, problem, Status.WRONG, heals=False)
    return obstacles.of_error(error, asked_by=obstacles.AGENTID)


def _is_contacts_assistant(corp: Corp) -> bool:
    """Only the directory-sync assistant may list all ids."""
    try:
        wecom_client(corp).user_list_id(limit=1)
    except IntegrationError:
        return False
    return True


_COPY_BOTH = _("Copy AgentId and Secret from the same page: WeCom's console → App management → the app.")
CHECK = Check(
    name=obstacles.AGENTID,
    label=_("AgentId and Secret"),
    purpose=_("Reads the app, which works only with its own Secret."),
    look=look,
    advices={
        "named": Advice(_("WeCom knows the app as “%(app_name)s”.")),
        "other_app": Advice(_("The Secret belongs to another app than the AgentId."), SITE_ADMIN, _COPY_BOTH),
        "contacts_secret": Advice(
            _("This is the Secret of the contacts assistant (Contacts sync), not of the app."), SITE_ADMIN, _COPY_BOTH
        ),
        "no_app": Advice(
            _("This Secret may not read the app: it is one of WeCom's own assistants, not the app's."),
            SITE_ADMIN,
            _COPY_BOTH,
        ),
    },
)
