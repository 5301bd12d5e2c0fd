"""Whether the app can read the directory, and which fields WeCom keeps from it."""

from __future__ import annotations

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import Check, Finding, Question, judge_error, ok, skip
from integrations.core.client_factory import wecom_client

NAME = "contacts"
# A department may be empty; so many are looked into for one member.
DEPARTMENTS_TRIED = 5


def run(question: Question) -> Finding:
    client = wecom_client(question.corp)
    try:
        departments = client.department_simplelist()
        userid = _somebody(client, [one.department_id for one in departments])
        if not userid:
            return skip("nobody", {"departments": len(departments)})
        member = client.user_get(userid)
    except IntegrationError as error:
        return judge_error(error, check_name=NAME)
    withheld = ", ".join(member.withheld)
    return ok("partly" if withheld else "whole", {"departments": len(departments), "withheld": withheld})


def _somebody(client: WeComClient, department_ids: list[int]) -> str:
    """The userid of any member whom the app sees; empty where none is found."""
    for department_id in department_ids[:DEPARTMENTS_TRIED]:
        members = client.user_simplelist(department_id)
        if members:
            return members[0].userid
    allowed = client.agent_get().allowed_userids
    return allowed[0] if allowed else ""


CHECK = Check(
    name=NAME,
    label=_("Contacts"),
    purpose=_("Reads the departments and one member, and looks which fields WeCom leaves out."),
    run=run,
    explanations={
        "whole": Explanation(
            _("The directory can be read (departments: %(departments)s), and a member with all fields.")
        ),
        "partly": Explanation(
            _(
                "The directory can be read (departments: %(departments)s). WeCom withholds these fields from apps made "
                "after June 2022: %(withheld)s. That is no mistake: link people by their WeCom account instead."
            )
        ),
        "nobody": Explanation(
            _("The directory can be read (departments: %(departments)s), but no member is found in the first of them.")
        ),
    },
)
