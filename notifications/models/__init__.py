"""Subscriptions and reports, runs with their deliveries and receipts, alerts."""

from notifications.models.alert_receivers import AlertReceiver
from notifications.models.alert_rules import AlertCheck, AlertRule, SilenceWindow
from notifications.models.alerts import (
    AlertCard,
    AlertSource,
    CardCode,
    Incident,
    IncidentEvent,
    IncidentNotice,
    Severity,
)
from notifications.models.api import AcceptedRequest, ApiToken
from notifications.models.attribute_rules import AttributeRule, Operator
from notifications.models.deliveries import REPEAT_SECONDS, Attempt, CorpQueue, Delivery, FrozenContent, new_mark
from notifications.models.drafts import Draft
from notifications.models.inbound import InboundCall, InboundChannel, InboundFetch, InboundPayload
from notifications.models.media import Attachment, MakerQueue, Medium, Upload
from notifications.models.messages import IncomingMessage
from notifications.models.operators import OperatorContacts
from notifications.models.outgoing_mails import OutgoingMail
from notifications.models.page_pictures import PagePicture
from notifications.models.receipts import Receipt
from notifications.models.recipients import Addressed, Channel, RulesMatch
from notifications.models.reports import OwnRowsRule, ReportCard, ReportChart
from notifications.models.robots import Robot
from notifications.models.runs import Run, TickClaim
from notifications.models.subscriptions import (
    INCOMING_FORMS,
    REPORT_FORMS,
    FreeDays,
    IfStale,
    MessageForm,
    MonthDay,
    Priority,
    Repeat,
    Report,
    Scheduled,
    Subscription,
    SubscriptionChoice,
)
from notifications.models.workday_calendar import WorkdayCalendar

__all__ = [
    "INCOMING_FORMS",
    "REPEAT_SECONDS",
    "REPORT_FORMS",
    "AcceptedRequest",
    "Addressed",
    "AlertCard",
    "AlertCheck",
    "AlertReceiver",
    "AlertRule",
    "AlertSource",
    "ApiToken",
    "Attachment",
    "Attempt",
    "AttributeRule",
    "CardCode",
    "Channel",
    "CorpQueue",
    "Delivery",
    "Draft",
    "FreeDays",
    "FrozenContent",
    "IfStale",
    "InboundCall",
    "InboundChannel",
    "InboundFetch",
    "InboundPayload",
    "Incident",
    "IncidentEvent",
    "IncidentNotice",
    "IncomingMessage",
    "MakerQueue",
    "Medium",
    "MessageForm",
    "MonthDay",
    "Operator",
    "OperatorContacts",
    "OutgoingMail",
    "OwnRowsRule",
    "PagePicture",
    "Priority",
    "Receipt",
    "Repeat",
    "Report",
    "ReportCard",
    "ReportChart",
    "Robot",
    "RulesMatch",
    "Run",
    "Scheduled",
    "Severity",
    "SilenceWindow",
    "Subscription",
    "SubscriptionChoice",
    "TickClaim",
    "Upload",
    "WorkdayCalendar",
    "new_mark",
]
