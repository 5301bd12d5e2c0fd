"""Ready-made mappings of the usual senders: how each proves itself, what becomes a message, what to enter there.

Payloads as documented by Grafana (webhook notifier), Alertmanager (webhook_config), Jenkins (Notification plugin),
GitLab (webhook events) and Metabase (webhooks), and as the code of Superset (reports/notifications/webhook.py) and
DolphinScheduler (alert-http) sends them; all read 2026-11-28. Guandata's custom push channel is not documented: its
fields are picked from the first payload.
"""

from __future__ import annotations

from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from notifications.inbound.mapping import Mapping

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True)
class Preset:
    """`steps`: what to do at the sender, a sentence each. `sends_alerts`: it could hand its alerts in at /api/v1/alerts
    instead, as incidents."""

    label: StrOrPromise
    scheme: str
    steps: tuple[StrOrPromise, ...]
    mapping: Mapping = field(default_factory=Mapping)
    sends_alerts: bool = False


_ALERTS = (
    "{% for alert in payload.alerts %}"
    "{{ alert.labels.alertname }} · {{ alert.status }}\n"
    "{{ alert.annotations.summary|default(alert.annotations.description)|default('') }}\n"
    "{% endfor %}"
)
# What happened, and to what: not a reminder of it, nor the same from another instance of the sender.
_ALERT_KEY = "alerts[].[fingerprint, startsAt, status]"
_TOKEN_IN_ADDRESS = _("The address already holds the secret: keep it as you would a password.")

OTHER = "other"
PRESETS: ReadOnly[str, Preset] = MappingProxyType(
    {
        "guandata": Preset(
            _("Guandata (custom push channel)"),
            "query",
            (
                _("In Guandata 7.1 or later add a custom push channel and enter the address below."),
                _("Choose the channel in a subscription or an alert, and send it once."),
                _TOKEN_IN_ADDRESS,
                _("What Guandata sends is not documented: pick the fields from what comes in."),
            ),
        ),
        "grafana": Preset(
            _("Grafana (as messages)"),
            "bearer",
            (
                _("Alerting > Contact points > Add contact point, integration Webhook: enter the address as URL."),
                _("Under optional settings enter the secret as Authorization header credentials, scheme Bearer."),
                _("Press Test."),
            ),
            Mapping(
                title="[{{ payload.status }}] {{ payload.alerts[0].labels.alertname }}",
                text=_ALERTS,
                key_path=_ALERT_KEY,
                link_path="alerts[0].dashboardURL || alerts[0].generatorURL || externalURL",
                severity_path="commonLabels.severity",
                urgent_values=("critical",),
                file_paths=("alerts[].imageURL",),
            ),
            sends_alerts=True,
        ),
        "alertmanager": Preset(
            _("Alertmanager (as messages)"),
            "bearer",
            (
                _(
                    "Add a receiver with webhook_configs: the address as url, and the secret as credentials under "
                    "http_config > authorization."
                ),
            ),
            Mapping(
                title="[{{ payload.status }}] {{ payload.commonLabels.alertname }}",
                text=_ALERTS,
                key_path=_ALERT_KEY,
                link_path="alerts[0].generatorURL || externalURL",
                severity_path="commonLabels.severity",
                urgent_values=("critical",),
            ),
            sends_alerts=True,
        ),
        "dolphinscheduler": Preset(
            _("DolphinScheduler"),
            "header",
            (
                _(
                    "Security > Alarm instance manage: add an instance of the plugin Http, request type POST, with the "
                    "address as URL."
                ),
                _('Headers: {"X-Channel-Token": "the secret"}; content field: content.'),
                _("Put the instance into an alarm group, and choose the group when a workflow is run."),
            ),
            Mapping(
                title="{{ payload.content[0].projectName }} · {{ payload.content[0].processName }}",
                text=(
                    "{% for one in payload.content %}"
                    "{{ one.taskName|default(one.processName) }} · {{ one.taskState|default(one.processState) }}\n"
                    "{% endfor %}"
                ),
                key_path=(
                    "content[?processId]"
                    ".[processId, processState, runTimes, taskCode, taskName, taskState, taskStartTime]"
                ),
            ),
        ),
        "jenkins": Preset(
            _("Jenkins (Notification plugin)"),
            "query",
            (
                _(
                    "Job > Configure > Job notifications: add an endpoint with format JSON, protocol HTTP and the "
                    "address as URL."
                ),
                _TOKEN_IN_ADDRESS,
            ),
            Mapping(
                title="{{ payload.name }} #{{ payload.build.number }} {{ payload.build.status }}",
                text="{{ payload.build.scm.branch }} {{ payload.build.scm.commit }}",
                only_path="build.phase",
                only_values=("FINALIZED",),
                key_path="build.full_url",
                link_path="build.full_url",
                severity_path="build.status",
                urgent_values=("failure",),
            ),
        ),
        "gitlab": Preset(
            _("GitLab"),
            "gitlab",
            (
                _("Project or group > Settings > Webhooks: enter the address as URL and the secret as secret token."),
                _("Choose the events, for example pipeline events, save, and press Test."),
            ),
            Mapping(
                title="{{ payload.project.path_with_namespace }} · {{ payload.object_kind }} "
                "{{ payload.object_attributes.status|default(payload.object_attributes.state)|default('') }}",
                text="{{ payload.object_attributes.ref|default(payload.object_attributes.title)|default('') }}\n"
                "{{ payload.user.name|default(payload.user_name) }}",
                only_path='object_kind != \'pipeline\' || contains(`["success", "failed"]`, object_attributes.status)',
                link_path="object_attributes.url || project.web_url",
            ),
        ),
        "superset": Preset(
            _("Superset"),
            "query",
            (
                _(
                    "Switch on ALERT_REPORT_WEBHOOK, then choose Webhook as notification method of an alert or report, "
                    "with the address as URL."
                ),
                _TOKEN_IN_ADDRESS,
            ),
            Mapping(
                title="{{ payload.name }}",
                text="{{ payload.description|default('') }}\n{{ payload.text|default('') }}",
                link_path="url",
                file_paths=("files",),
            ),
        ),
        "metabase": Preset(
            _("Metabase"),
            "bearer",
            (
                _("Admin settings > Notification channels > Webhooks for alerts: add one with the address as URL."),
                _("Authentication method Bearer, with the secret as token."),
            ),
            Mapping(
                title="{{ payload.data.question_name }}",
                text="{% for row in payload.data.raw_data.rows %}{{ row|join(' · ') }}\n{% endfor %}",
                key_path="sent_at && [alert_id, sent_at]",
                link_path="data.question_url",
                file_paths=("data.visualization",),
            ),
        ),
        OTHER: Preset(
            _("another system"),
            "bearer",
            (
                _(
                    "Have it send JSON or a form by POST to the address, with the header Authorization: Bearer and the "
                    "secret."
                ),
                _("Where it can only sign or knows another header, choose another proof in the advanced part."),
            ),
        ),
    }
)
