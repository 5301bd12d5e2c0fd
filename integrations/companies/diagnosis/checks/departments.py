"""Whether the department roots exist, and the app may see them."""

from __future__ import annotations

from integrations.clients.errors import IntegrationError
from integrations.clients.explanations import Explanation
from integrations.clients.wecom.client import WeComClient
from integrations.clients.wecom.errcodes.entry import SITE_ADMIN, TO_SCOPE, WECOM_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import Check, Finding, Question, judge_error, ok, wrong
from integrations.core.client_factory import wecom_client
from integrations.models import Corp

NAME = "departments"
UNKNOWN = frozenset({60003, 60123})
OUT_OF_SCOPE = 60011


def run(question: Question) -> Finding:
    roots = question.corp.department_root_ids
    client = wecom_client(question.corp)
    try:
        visible = {one.department_id for one in client.department_simplelist()}
        if not roots:
            return ok("all", {"departments": len(visible)})
        lost = {root: _why(client, root) for root in roots if root not in visible}
    except IntegrationError as error:
        return judge_error(error, check_name=NAME)
    return _judged(roots, lost)


def _why(client: WeComClient, root: int) -> int:
    """The code with which WeCom refuses a department. The list does not tell unknown from out of scope."""
    try:
        client.department_get(root)
    except IntegrationError as error:
        if error.code in UNKNOWN or error.code == OUT_OF_SCOPE:
            return error.code or 0
        raise
    return 0


def _judged(roots: list[int], lost: dict[int, int]) -> Finding:
    unknown = [str(root) for root, code in lost.items() if code in UNKNOWN]
    outside = [str(root) for root, code in lost.items() if code == OUT_OF_SCOPE]
    facts = {"roots": ", ".join(map(str, roots)), "unknown": ", ".join(unknown), "outside": ", ".join(outside)}
    if unknown and outside:
        return wrong("both", facts)
    if unknown:
        return wrong("unknown", facts)
    return wrong("outside", facts) if outside else ok("seen", facts)


def subject(corp: Corp) -> str:
    return ",".join(map(str, corp.department_root_ids))


_CORRECT = _("Correct “department roots” on this page, or leave it empty. WeCom's console → Contacts shows the IDs.")
CHECK = Check(
    name=NAME,
    label=_("Department roots"),
    purpose=_("Looks whether the departments named on this page exist and are in the app's visible scope."),
    run=run,
    subject=subject,
    explanations={
        "all": Explanation(
            _("No roots are named: everybody whom the app sees takes part (departments: %(departments)s).")
        ),
        "seen": Explanation(_("All of them exist and are visible to the app: %(roots)s.")),
        "unknown": Explanation(_("There is no department %(unknown)s in WeCom."), SITE_ADMIN, _CORRECT),
        "outside": Explanation(_("The app may not see department %(outside)s."), WECOM_ADMIN, TO_SCOPE),
        "both": Explanation(
            _("There is no department %(unknown)s in WeCom, and the app may not see department %(outside)s."),
            SITE_ADMIN,
            _CORRECT,
        ),
    },
)
