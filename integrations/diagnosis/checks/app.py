"""Whether the app is enabled in WeCom."""

from __future__ import annotations

from integrations.clients import wecom_client
from integrations.diagnosis import obstacles
from integrations.diagnosis.findings import Advice, Check, Finding, Question, Status, failed, ok, wrong
from integrations.errors import IntegrationError
from integrations.wecom.errcode_entry import WECOM_ADMIN
from integrations.wecom.errcode_entry import gettext_noop as _

NAME = "app"


def look(question: Question) -> Finding:
    try:
        agent = wecom_client(question.corp).agent_get()
    except IntegrationError as error:
        if error.code == obstacles.APP_DISABLED:
            return failed(error, "disabled", Status.WRONG, heals=True)
        return obstacles.of_error(error, asked_by=NAME)
    return wrong("disabled") if agent.is_closed else ok("enabled")


CHECK = Check(
    name=NAME,
    label=_("App enabled"),
    purpose=_("Looks whether the app is switched on in WeCom."),
    look=look,
    advices={
        "enabled": Advice(_("The app is enabled in WeCom.")),
        "disabled": Advice(
            _("The app is disabled in WeCom."),
            WECOM_ADMIN,
            _("WeCom's console → App management → the app → enable it."),
        ),
    },
)
