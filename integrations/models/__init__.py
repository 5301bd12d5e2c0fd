"""The outside systems that we are connected to, as rows."""

from integrations.models.bi import BiConnection, BiListing
from integrations.models.callbacks import EventLane, EventWork
from integrations.models.companies import DEFAULT_SITE_ADDRESS, Corp, SiteAddress, is_local_host
from integrations.models.console import ConsoleWrite
from integrations.models.credentials import StagedCredentials
from integrations.models.datasources import Card, CardData, CardView, DataSource, HttpMethod, SourceKind
from integrations.models.diagnosis import CheckRun
from integrations.models.directory import Department, Member, MemberRename, Membership, fold_userid
from integrations.models.heartbeats import EngineWatch, Heartbeat
from integrations.models.installation import Installation
from integrations.models.site import CallbackEvent, VerificationFile
from integrations.models.sync_runs import SyncChange, SyncRun

__all__ = [
    "DEFAULT_SITE_ADDRESS",
    "BiConnection",
    "BiListing",
    "CallbackEvent",
    "Card",
    "CardData",
    "CardView",
    "CheckRun",
    "ConsoleWrite",
    "Corp",
    "DataSource",
    "Department",
    "EngineWatch",
    "EventLane",
    "EventWork",
    "Heartbeat",
    "HttpMethod",
    "Installation",
    "Member",
    "MemberRename",
    "Membership",
    "SiteAddress",
    "SourceKind",
    "StagedCredentials",
    "SyncChange",
    "SyncRun",
    "VerificationFile",
    "fold_userid",
    "is_local_host",
]
