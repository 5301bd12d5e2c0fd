"""Whom the app can see, and so reach and let in."""

from __future__ import annotations

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import TO_SCOPE, WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import Check, Finding, Question, judge_error, ok, warning, wrong
from integrations.core.client_factory import wecom_client

NAME = "scope"


def run(question: Question) -> Finding:
    try:
        agent = wecom_client(question.corp).agent_get()
    except IntegrationError as error:
        return judge_error(error, check_name=NAME)
    facts = {
        "members": len(agent.allowed_userids),
        "departments": len(agent.allowed_department_ids),
        "tags": len(agent.allowed_tag_ids),
    }
    if not any(facts.values()):
        return wrong("empty", facts)
    if facts["members"] and not facts["departments"] and not facts["tags"]:
        return warning("members_only", facts, heals=True)
    return ok("seen", facts)


CHECK = Check(
    name=NAME,
    label=_("Visible scope"),
    purpose=_("Counts the members, departments and tags that the app may see."),
    run=run,
    explanations={
        "seen": Explanation(
            _(
                "The app sees departments with all below them: %(departments)s, tags: %(tags)s, "
                "single members: %(members)s."
            )
        ),
        "empty": Explanation(
            _("The app sees nobody: nobody can sign in, and no message arrives."),
            WECOM_ADMIN,
            TO_SCOPE,
        ),
        "members_only": Explanation(
            _("The app sees single members only (%(members)s), no department: whoever joins later is left out."),
            WECOM_ADMIN,
            TO_SCOPE,
        ),
    },
)
