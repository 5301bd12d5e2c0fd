"""Models of the connected outside systems and of background work."""

from integrations.models.companies import (
    DEFAULT_SITE_ADDRESS,
    CallbackEvent,
    CheckRun,
    Corp,
    SiteAddress,
    StagedCredentials,
    VerificationFile,
    is_local_host,
)
from integrations.models.datasources import (
    BiConnection,
    Card,
    CardData,
    CardView,
    DataSource,
    HttpMethod,
    SourceKind,
)
from integrations.models.directory import (
    Department,
    EventLane,
    EventWork,
    Member,
    MemberRename,
    Membership,
    SyncChange,
    SyncRun,
)
from integrations.models.fields import fold_userid
from integrations.models.installation import EngineWatch, Heartbeat, Installation
from integrations.models.jobs import Job, JobFile

__all__ = [
    "DEFAULT_SITE_ADDRESS",
    "BiConnection",
    "CallbackEvent",
    "Card",
    "CardData",
    "CardView",
    "CheckRun",
    "Corp",
    "DataSource",
    "Department",
    "EngineWatch",
    "EventLane",
    "EventWork",
    "Heartbeat",
    "HttpMethod",
    "Installation",
    "Job",
    "JobFile",
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
