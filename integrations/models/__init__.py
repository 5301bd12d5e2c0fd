"""Models of the connected outside systems and of background work."""

from integrations.models.companies import (
    DEFAULT_SITE_ADDRESS,
    CheckRun,
    Corp,
    CredentialsState,
    SiteAddress,
    is_local_host,
)
from integrations.models.datasources import BiConnection, Card, CardData, CardView, DataSource, HttpMethod, SourceKind
from integrations.models.directory import (
    CallbackEvent,
    Department,
    Member,
    SyncRun,
)
from integrations.models.fields import fold_userid
from integrations.models.installation import Heartbeat, Installation
from integrations.models.jobs import Job
