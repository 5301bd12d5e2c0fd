"""Whether AgentId and Secret belong to one app, and not to the contacts assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import SITE_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    NOT_OF_AN_APP,
    OTHER_APP,
    BlockingCheck,
    Check,
    Finding,
    Question,
    Status,
    clip,
    fail,
    judge_error,
    ok,
    wrong,
)
from integrations.core.client_factory import wecom_client

if TYPE_CHECKING:
    from integrations.clients.wecom.api.agent import Agent
    from integrations.clients.wecom.client import WeComClient


def run(question: Question) -> Finding:
    client = wecom_client(question.corp)
    try:
        agent = client.agent_get()
    except IntegrationError as error:
        return of_error(client, error, check_name=BlockingCheck.AGENTID)
    return of_agent(agent, agentid=question.corp.agentid)


def of_agent(agent: Agent, *, agentid: int) -> Finding:
    """Whether the app that WeCom shows is the one of this AgentId."""
    if agent.agentid != agentid:
        return wrong("other_app", {"theirs": agent.agentid}, heals=False)
    return ok("named", {"app_name": clip(agent.name, 128)})


def of_error(client: WeComClient, error: IntegrationError, *, check_name: str) -> Finding:
    """What WeCom's refusal to show the app means."""
    if error.operation == "gettoken" or error.code is None:
        return judge_error(error, check_name=check_name)
    if error.code in OTHER_APP:
        return fail(error, "other_app", Status.WRONG, heals=False)
    if error.code == NOT_OF_AN_APP:
        problem = "contacts_secret" if _is_contacts_assistant(client) else "no_app"
        return fail(error, problem, Status.WRONG, heals=False)
    return judge_error(error, check_name=check_name)


def _is_contacts_assistant(client: WeComClient) -> bool:
    """Only the directory-sync assistant may list all ids."""
    try:
        client.user_list_id(limit=1)
    except IntegrationError:
        return False
    return True


_COPY_BOTH = _("Copy AgentId and Secret from the same page: WeCom's console → App management → the app.")
CHECK = Check(
    name=BlockingCheck.AGENTID,
    label=_("AgentId and Secret"),
    purpose=_("Reads the app, which works only with its own Secret."),
    run=run,
    explanations={
        "named": Explanation(_("WeCom knows the app as “%(app_name)s”.")),
        "other_app": Explanation(_("The Secret belongs to another app than the AgentId."), SITE_ADMIN, _COPY_BOTH),
        "contacts_secret": Explanation(
            _("This is the Secret of the contacts assistant (Contacts sync), not of the app."), SITE_ADMIN, _COPY_BOTH
        ),
        "connected": Explanation(
            _("This app is connected as another company here already."),
            SITE_ADMIN,
            _("Use that company, or another app."),
        ),
        "no_app": Explanation(
            _("This Secret may not read the app: it is one of WeCom's own assistants, not the app's."),
            SITE_ADMIN,
            _COPY_BOTH,
        ),
    },
)
