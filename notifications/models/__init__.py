"""Subscriptions and reports, runs with their deliveries and receipts, alerts."""

from notifications.models.alerts import (
    AlertCard,
    AlertCheck,
    AlertRule,
    AlertSource,
    Incident,
    IncidentEvent,
    Severity,
    SilenceWindow,
)
from notifications.models.api import ApiToken
from notifications.models.deliveries import (
    REPEAT_SECONDS,
    Attempt,
    CorpQueue,
    Delivery,
    FrozenContent,
    Receipt,
    new_mark,
)
from notifications.models.inbound import (
    InboundCall,
    InboundChannel,
    IncomingMessage,
    OutgoingMail,
)
from notifications.models.media import MakerQueue, Medium
from notifications.models.recipients import Channel, OperatorContacts, Robot, RulesMatch, WithRecipients
from notifications.models.runs import Run
from notifications.models.subscriptions import (
    INCOMING_FORMS,
    REPORT_FORMS,
    AttributeRule,
    Draft,
    FreeDays,
    IfStale,
    MessageForm,
    MonthDay,
    Operator,
    OwnRowsRule,
    Priority,
    Repeat,
    Report,
    ReportCard,
    ReportChart,
    Scheduled,
    Subscription,
    SubscriptionChoice,
    WorkdayCalendar,
)
