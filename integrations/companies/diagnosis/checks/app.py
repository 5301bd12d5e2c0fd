"""Whether the app is enabled in WeCom."""

from __future__ import annotations

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import (
    APP_DISABLED,
    Check,
    Finding,
    Question,
    Status,
    fail,
    judge_error,
    ok,
    wrong,
)
from integrations.core.client_factory import wecom_client

NAME = "app"


def run(question: Question) -> Finding:
    try:
        agent = wecom_client(question.corp).agent_get()
    except IntegrationError as error:
        if error.code == APP_DISABLED:
            return fail(error, "disabled", Status.WRONG, heals=True)
        return judge_error(error, check_name=NAME)
    return wrong("disabled") if agent.is_closed else ok("enabled")


CHECK = Check(
    name=NAME,
    label=_("App enabled"),
    purpose=_("Looks whether the app is switched on in WeCom."),
    run=run,
    explanations={
        "enabled": Explanation(_("The app is enabled in WeCom.")),
        "disabled": Explanation(
            _("The app is disabled in WeCom."),
            WECOM_ADMIN,
            _("WeCom's console → App management → the app → enable it."),
        ),
    },
)
