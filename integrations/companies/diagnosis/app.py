"""Checks of CorpId, AgentId and Secrets, and of what the app may do: its scope, the directory, a message."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext

from integrations.clients.errors import (
    Explanation,
    IntegrationError,
    OutcomeUnknownError,
    RateLimitedError,
    RecipientError,
    TransientError,
)
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.builders import build_app_message, build_text_content, encode_body
from integrations.clients.wecom.errcodes import SITE_ADMIN, TO_SCOPE, WECOM_ADMIN
from integrations.clients.wecom.errcodes import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    APP_DISABLED,
    IP_REFUSED,
    MESSAGE,
    NOT_OF_AN_APP,
    OTHER_APP,
    Finding,
    Question,
    Status,
    ask_site_admin,
    ask_wecom_admin,
    check,
    clip,
    fail,
    is_temporary_refusal,
    judge_error,
    ok,
    parse_ip_address,
    skip,
    warning,
    wrong,
)
from integrations.core.client_factory import contacts_client, token_store, trial_client, wecom_client

if TYPE_CHECKING:
    from integrations.clients.wecom.client import Agent, WeComClient


# A member is searched in up to so many departments, because some may be empty.
DEPARTMENTS_TRIED = 5
UNKNOWN_DEPARTMENT = frozenset({60003, 60123})
DEPARTMENT_OUT_OF_SCOPE = 60011
SECRET_REFUSED = frozenset({errcodes.INVALID_CREDENTIAL, errcodes.INVALID_SECRET})
# Details are withheld from addresses that WeCom first saw after 2022-08-15.
NO_DETAILS = 48009
_RATE_LIMIT = errcodes.explain(errcodes.RATE_LIMITED, operation="gettoken")


@check(
    "token",
    label=_("Token"),
    purpose=_("Fetches a token with the saved CorpId and Secret."),
    explanations={
        "given": _("WeCom gives a token for this CorpId and Secret."),
        "held": Explanation(
            _(
                "WeCom gives this server no token until about %(until)s: too many were asked for, or with a wrong "
                "Secret."
            ),
            _RATE_LIMIT.who,
            _RATE_LIMIT.where,
        ),
    },
)
def check_token(question: Question) -> Finding:
    """Fetch a new token for all processes, because the shared token does not show whether the Secret is right."""
    try:
        try:
            wecom_client(question.corp).renew_token()
        except TransientError as error:
            if error.system != "valkey":
                raise
            corp = question.corp
            trial_client(corp, agentid=corp.agentid, secret=corp.secret).renew_token()
    except RateLimitedError as error:
        if error.code != errcodes.RATE_LIMITED:
            raise
        until = question.now + timedelta(seconds=error.retry_after_seconds)
        return fail(error, "held", Status.WRONG, heals=False, facts={"until": until.isoformat()})
    return ok("given")


@check(
    "agentid",
    label=_("AgentId and Secret"),
    purpose=_("Reads the app, which works only with its own Secret."),
    explanations={
        "named": _("WeCom knows the app as “%(app_name)s”."),
        "connected": ask_site_admin(
            _("This app is connected as another company here already."), _("Use that company, or another app.")
        ),
    },
    problems={
        "other_app": _("The Secret belongs to another app than the AgentId."),
        "contacts_secret": _("This is the Secret of the contacts assistant (Contacts sync), not of the app."),
        "no_app": _("This Secret may not read the app: it is one of WeCom's own assistants, not the app's."),
    },
    fix=(SITE_ADMIN, _("Copy AgentId and Secret from the same page: WeCom's console → App management → the app.")),
)
def check_agentid(question: Question) -> Finding:
    client = wecom_client(question.corp)
    try:
        agent = client.agent_get()
    except IntegrationError as error:
        return judge_agent_refusal(client, error)
    return judge_agent(agent, agentid=question.corp.agentid)


def judge_agent(agent: Agent, *, agentid: int) -> Finding:
    """Judge whether the app that WeCom returned has this AgentId."""
    if agent.agentid != agentid:
        return wrong("other_app", {"theirs": agent.agentid}, heals=False)
    return ok("named", {"app_name": clip(agent.name, 128)})


def judge_agent_refusal(client: WeComClient, error: IntegrationError) -> Finding:
    """Judge WeCom's refusal to show the app."""
    if error.operation == "gettoken" or error.code not in {*OTHER_APP, NOT_OF_AN_APP}:
        return judge_error(error)
    if error.code in OTHER_APP:
        return fail(error, "other_app", Status.WRONG, heals=False)
    try:
        client.user_list_id(limit=1)  # allowed only to the contacts assistant
    except IntegrationError:
        return fail(error, "no_app", Status.WRONG, heals=False)
    return fail(error, "contacts_secret", Status.WRONG, heals=False)


@check(
    "app",
    label=_("App enabled"),
    purpose=_("Checks whether the app is switched on in WeCom."),
    explanations={
        "enabled": _("The app is enabled in WeCom."),
        "disabled": ask_wecom_admin(
            _("The app is disabled in WeCom."), _("WeCom's console → App management → the app → enable it.")
        ),
    },
)
def check_app(question: Question) -> Finding:
    try:
        agent = wecom_client(question.corp).agent_get()
    except IntegrationError as error:
        if error.code != APP_DISABLED:
            raise
        return fail(error, "disabled", Status.WRONG, heals=True)
    return wrong("disabled") if agent.is_closed else ok("enabled")


@check(
    "scope",
    label=_("Visible scope"),
    purpose=_("Counts the members, departments and tags that the app may see."),
    explanations={
        "seen": _(
            "The app sees departments with all below them: %(departments)s, tags: %(tags)s, "
            "single members: %(members)s."
        ),
    },
    problems={
        "empty": _("The app sees nobody: nobody can sign in, and no message arrives."),
        "members_only": _(
            "The app sees single members only (%(members)s), no department: whoever joins later is left out."
        ),
    },
    fix=(WECOM_ADMIN, TO_SCOPE),
)
def check_scope(question: Question) -> Finding:
    agent = wecom_client(question.corp).agent_get()
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


@check(
    "contacts",
    label=_("Contacts"),
    purpose=_("Reads the departments and one member, and checks which fields WeCom leaves out."),
    explanations={
        "whole": _("The directory can be read (departments: %(departments)s), and a member with all fields."),
        "partly": _(
            "The directory can be read (departments: %(departments)s). WeCom withholds these fields from apps made "
            "after June 2022: %(withheld)s. That is no mistake: link people by their WeCom account instead."
        ),
        "nobody": _(
            "The directory can be read (departments: %(departments)s), but no member is found in the first of them."
        ),
    },
)
def check_contacts(question: Question) -> Finding:
    client = wecom_client(question.corp)
    department_ids = [one.department_id for one in client.department_simplelist()]
    members = (one for pk in department_ids[:DEPARTMENTS_TRIED] for one in client.user_simplelist(pk))
    first = next(members, None)
    userid = first.userid if first is not None else next(iter(client.agent_get().allowed_userids), "")
    if not userid:
        return skip("nobody", {"departments": len(department_ids)})
    withheld = ", ".join(client.user_get(userid).withheld)
    return ok("partly" if withheld else "whole", {"departments": len(department_ids), "withheld": withheld})


@check(
    "departments",
    label=_("Department roots"),
    purpose=_("Checks whether the departments named on this page exist and are in the app's visible scope."),
    subject=lambda corp: ",".join(map(str, corp.department_root_ids)),
    explanations={
        "all": _("No roots are named: everybody whom the app sees takes part (departments: %(departments)s)."),
        "seen": _("All of them exist and are visible to the app: %(roots)s."),
        "outside": ask_wecom_admin(_("The app may not see department %(outside)s."), TO_SCOPE),
    },
    problems={
        "unknown": _("There is no department %(unknown)s in WeCom."),
        "both": _("There is no department %(unknown)s in WeCom, and the app may not see department %(outside)s."),
    },
    fix=(
        SITE_ADMIN,
        _("Correct “department roots” on this page, or leave it empty. WeCom's console → Contacts shows the IDs."),
    ),
)
def check_departments(question: Question) -> Finding:
    roots = question.corp.department_root_ids
    client = wecom_client(question.corp)
    visible = {one.department_id for one in client.department_simplelist()}
    if not roots:
        return ok("all", {"departments": len(visible)})
    unknown: list[str] = []
    outside: list[str] = []
    for root in roots:
        if root in visible:
            continue
        try:  # a missing root may be unknown or out of scope
            client.department_get(root)
        except IntegrationError as error:
            if error.code in UNKNOWN_DEPARTMENT:
                unknown.append(str(root))
            elif error.code == DEPARTMENT_OUT_OF_SCOPE:
                outside.append(str(root))
            else:
                raise
    facts = {"roots": ", ".join(map(str, roots)), "unknown": ", ".join(unknown), "outside": ", ".join(outside)}
    if unknown and outside:
        return wrong("both", facts)
    if unknown:
        return wrong("unknown", facts)
    return wrong("outside", facts) if outside else ok("seen", facts)


@check(
    "assistant",
    label=_("Contacts sync"),
    purpose=_("Reads the directory with the Secret of Contacts sync, if one is saved."),
    explanations={
        "none": ask_site_admin(
            _("Not entered: the app's own Secret reads whom the app may see. That is enough for many companies."),
            _(
                "To read the whole company: WeCom's console → Security and management → Management tools → "
                "Contacts sync → Secret; paste it above under Credentials into “Contacts sync Secret”."
            ),
        ),
        "reads": _("Contacts sync reads the whole company (departments: %(departments)s), with all details."),
        "ids_only": _(
            "Contacts sync reads the whole company (departments: %(departments)s), but no names or other details: "
            "WeCom keeps them from addresses that it first saw after August 2022. The app reads those it may see."
        ),
        "refused_ip": ask_wecom_admin(
            _("WeCom refuses Contacts sync the address of this server, %(address)s."),
            _("WeCom's console → Security and management → Management tools → Contacts sync → Trusted company IP."),
        ),
    },
    problems={
        "secret_refused": _("WeCom refuses the Secret of Contacts sync: it is wrong, or was reset."),
        "of_an_app": _("The Secret saved for Contacts sync is one of an app, which may not list the whole company."),
    },
    fix=(
        SITE_ADMIN,
        _(
            "WeCom's console → Security and management → Management tools → Contacts sync → Secret; paste it above "
            "under Credentials into “Contacts sync Secret”."
        ),
    ),
    copied_fact="address",
)
def check_assistant(question: Question) -> Finding:
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
        # Judged separately: the findings of the token and IP checks about the app do not apply to the assistant.
        if error.code == NO_DETAILS and error.operation == "user_get":
            return ok("ids_only", facts)
        if error.code is not None and error.operation == "gettoken":
            problem = "secret_refused" if error.code in SECRET_REFUSED else "refused"
            return fail(error, problem, Status.WRONG, heals=is_temporary_refusal(error.code))
        if error.code == NOT_OF_AN_APP:
            return fail(error, "of_an_app", Status.WRONG, heals=False)
        if error.code in IP_REFUSED:
            address = parse_ip_address(error.caller_ip) or ""
            return fail(error, "refused_ip", Status.WRONG, heals=True, facts={"address": address})
        raise
    return ok("reads", facts)


# WeCom refuses some messages for their text, too: the company's name in it may break WeCom's rules.
REFUSED_TEXT = frozenset({40201, 82004, 85002})


@check(
    MESSAGE,
    label=_("Test message"),
    purpose=_("Sends a message to a person of your choice."),
    explanations={
        "accepted": _("WeCom accepted the message to %(to)s (msgid %(msgid)s). Look at the phone."),
        "with_warning": _("WeCom accepted the message to %(to)s with a warning (msgid %(msgid)s)."),
        "unclear": ask_site_admin(
            _("It is not known whether the message to %(to)s went out: WeCom's answer was lost."),
            _("Look at the phone before you send another one."),
        ),
        "nobody": ask_site_admin(
            _("%(to)s cannot receive the message: WeCom knows no such account, or it is outside the visible scope."),
            _("Take the account from WeCom's console → Contacts → the member → Account, and check the visible scope."),
        ),
        "unlicensed": ask_wecom_admin(
            _("%(to)s has no interface licence, so the message was not delivered (msgid %(msgid)s)."),
            _("WeCom's console → App management → the app → Interface licence."),
        ),
    },
    retries=(),
)
def send_test_message(question: Question) -> Finding:
    """Send the message once. An unclear outcome is reported and never repeated. `subject`: the userid."""
    corp, to = question.corp, question.subject
    with translation.override(settings.LANGUAGE_CODE):
        # Unique by time and number, because WeCom silently drops an identical message.
        text = gettext("Test message from “%(corp)s” (%(time)s, no. %(number)s). It needs no answer.") % {
            "corp": corp.name,
            "time": f"{timezone.localtime(question.now):%Y-%m-%d %H:%M:%S}",
            "number": f"{secrets.randbelow(1_000_000):06}",
        }
    message = build_app_message(agentid=corp.agentid, userids=[to], content=build_text_content(text))
    try:
        result = wecom_client(corp).message_send(encode_body(message))
    except OutcomeUnknownError as error:
        return fail(error, "unclear", Status.WARNING, heals=False, facts={"to": to})
    except RecipientError as error:
        problem = "nobody"
        if error.unlicensed_userids:
            problem = "unlicensed"
        elif error.code in REFUSED_TEXT:
            problem = "refused"
        return fail(error, problem, Status.WRONG, heals=False, facts={"to": to, "msgid": "-"})
    facts = {"to": to, "msgid": result.msgid[:255]}
    if result.unlicensed_userids:
        return wrong("unlicensed", facts, heals=False)
    if result.invalid_userids:
        return wrong("nobody", facts, heals=False)
    return warning("with_warning", facts) if result.warning else ok("accepted", facts)
