"""Whether the Secret of Contacts sync is right, and what it may read. Only where one is saved."""

from __future__ import annotations

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.errcodes.entry import SITE_ADMIN, WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    IP_REFUSED,
    NOT_OF_AN_APP,
    Check,
    Finding,
    Question,
    Status,
    fail,
    is_passing,
    judge_error,
    ok,
    parse_ip_address,
    skip,
)
from integrations.core.client_factory import contacts_client, token_store

NAME = "assistant"
SECRET_REFUSED = frozenset({errcodes.INVALID_CREDENTIAL, errcodes.INVALID_SECRET})
# Details are kept from addresses that WeCom first saw after 2022-08-15.
NO_DETAILS = 48009


def run(question: Question) -> Finding:
    if not question.corp.contacts_secret:
        return skip("none")
    try:
        token_store().drop_copies(question.corp.corpid, None)
        client = contacts_client(question.corp)
        rows = client.user_list_id(limit=1).rows
        facts = {"departments": len(client.department_simplelist())}
        if rows:
            client.user_get(rows[0].userid)
    except IntegrationError as error:
        if error.code == NO_DETAILS and error.operation == "user_get":
            return ok("ids_only", facts)
        return _of_error(error)
    return ok("reads", facts)


def _of_error(error: IntegrationError) -> Finding:
    """Unlike the other checks: findings about the app's token and address do not hold for the assistant's."""
    if error.code is None:
        return judge_error(error, check_name=NAME)
    if error.operation == "gettoken":
        problem = "secret_refused" if error.code in SECRET_REFUSED else "refused"
        return fail(error, problem, Status.WRONG, heals=is_passing(error.code))
    if error.code == NOT_OF_AN_APP:
        return fail(error, "of_an_app", Status.WRONG, heals=False)
    if error.code in IP_REFUSED:
        address = parse_ip_address(error.caller_ip) or ""
        return fail(error, "refused_ip", Status.WRONG, heals=True, facts={"address": address})
    return judge_error(error, check_name=NAME)


_TO_SECRET = _(
    "WeCom's console → Security and management → Management tools → Contacts sync → Secret; paste it above under "
    "Credentials into “Contacts sync Secret”."
)
CHECK = Check(
    name=NAME,
    label=_("Contacts sync"),
    purpose=_("Reads the directory with the Secret of Contacts sync, if one is saved."),
    run=run,
    explanations={
        "none": Explanation(
            _("Not entered: the app's own Secret reads whom the app may see. That is enough for many companies."),
            SITE_ADMIN,
            _(
                "To read the whole company: WeCom's console → Security and management → Management tools → "
                "Contacts sync → Secret; paste it above under Credentials into “Contacts sync Secret”."
            ),
        ),
        "reads": Explanation(
            _("Contacts sync reads the whole company (departments: %(departments)s), with all details.")
        ),
        "ids_only": Explanation(
            _(
                "Contacts sync reads the whole company (departments: %(departments)s), but no names or other details: "
                "WeCom keeps them from addresses that it first saw after August 2022. The app reads those it may see."
            )
        ),
        "secret_refused": Explanation(
            _("WeCom refuses the Secret of Contacts sync: it is wrong, or was reset."),
            SITE_ADMIN,
            _TO_SECRET,
        ),
        "of_an_app": Explanation(
            _("The Secret saved for Contacts sync is one of an app, which may not list the whole company."),
            SITE_ADMIN,
            _TO_SECRET,
        ),
        "refused_ip": Explanation(
            _("WeCom refuses Contacts sync the address of this server, %(address)s."),
            WECOM_ADMIN,
            _("WeCom's console → Security and management → Management tools → Contacts sync → Trusted company IP."),
        ),
    },
    copied="address",
)
