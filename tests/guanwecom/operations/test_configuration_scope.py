"""Each model of ours is configuration, or stands here with the reason why it is not: a new one cannot be forgotten."""

from __future__ import annotations

from django.apps import apps
from django.contrib.auth.models import Group

from guanwecom.operations.configuration.kinds import KINDS

APPS = ("accounts", "integrations", "notifications")
LEFT_OUT = {
    "it is a person, or what a person chose or proved; people come from the directory or an import": {
        *("accounts.User", "accounts.WeComAccount", "accounts.AttributeValue", "accounts.TotpDevice"),
        *("notifications.SubscriptionChoice", "notifications.Draft"),
    },
    "it is a secret, or stands for one": {"notifications.ApiToken", "integrations.StagedCredentials"},
    "it is what a directory or the BI told": {
        *("integrations.Department", "integrations.Member", "integrations.Membership", "integrations.MemberRename"),
        *("accounts.GivenGroup", "accounts.LinkConflict", "accounts.LinkRequest", "integrations.BiListing"),
    },
    "it is a sign-in that is under way": {"accounts.SignedInSession", "accounts.Lockout"},
    "it says what has happened": {
        *("accounts.AuditEntry", "accounts.UnsentAudit", "integrations.CheckRun", "integrations.ConsoleWrite"),
        *("integrations.SyncRun", "integrations.SyncChange", "accounts.PeopleRun", "accounts.PeopleMove"),
        *("accounts.PeopleExport", "accounts.ExportFile"),
        *("accounts.PeopleImport", "accounts.ImportFile", "accounts.ImportRow"),
        *("notifications.Incident", "notifications.IncidentEvent", "notifications.IncidentNotice"),
        *("notifications.Run", "notifications.Receipt", "notifications.InboundCall", "notifications.AlertCheck"),
    },
    "it is a message, a part of one, or what came for one": {
        *("notifications.Delivery", "notifications.Attempt", "notifications.FrozenContent", "notifications.Medium"),
        *("notifications.Attachment", "notifications.Upload", "notifications.IncomingMessage"),
        *("notifications.OutgoingMail", "notifications.AlertCard", "notifications.CardCode"),
        *("notifications.InboundPayload", "notifications.InboundFetch", "notifications.AcceptedRequest"),
        *("integrations.CardData", "integrations.CallbackEvent"),
    },
    "it belongs to the engine of this installation": {
        *("integrations.EventWork", "integrations.EventLane", "notifications.CorpQueue", "notifications.TickClaim"),
        *("integrations.Heartbeat", "integrations.EngineWatch", "integrations.Installation"),
    },
}


def test_each_model_is_exported_or_left_out_for_a_reason() -> None:
    children = {child.model._meta.label for kind in KINDS for child in kind.children}
    exported = ({kind.model._meta.label for kind in KINDS} | children) - {Group._meta.label}
    left_out = [label for labels in LEFT_OUT.values() for label in labels]
    ours = {model._meta.label for app in APPS for model in apps.get_app_config(app).get_models()}

    assert sorted([*exported, *left_out]) == sorted(ours)
