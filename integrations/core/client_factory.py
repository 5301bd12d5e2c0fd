"""Builds the clients of WeCom and the BI from a row: the only place where secrets are read."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING

from django.conf import settings

from integrations.clients.errors import TransientError
from integrations.clients.guandata import NO_APPLICATION, GuandataClient, Login
from integrations.clients.network import Journey, travel
from integrations.clients.transport import open_session
from integrations.clients.wecom.callbacks import CallbackCrypto
from integrations.clients.wecom.calls import Timeouts, WireOptions
from integrations.clients.wecom.client import RobotClient, WeComClient
from integrations.clients.wecom.tokens import TokenStore, TrialTokens
from integrations.core import metrics
from integrations.core.redis import valkey
from integrations.models import CallbackEvent
from integrations.models.fields import cipher, opened

if TYPE_CHECKING:
    from integrations.models import BiConnection, Corp


@dataclass(frozen=True, slots=True)
class CallbackColumns:
    """The columns of Corp that belong to one of its two callback addresses."""

    token: str
    aes_key: str
    verified_at: str


# How long a connection may take to be made.
CONNECT_SECONDS = 3.05
CALLBACK_COLUMNS = {
    CallbackEvent.Kind.APP: CallbackColumns("callback_token", "callback_aes_key", "callback_verified_at"),
    CallbackEvent.Kind.CONTACTS: CallbackColumns(
        "contacts_callback_token", "contacts_callback_aes_key", "contacts_callback_verified_at"
    ),
}

# One per process: clients share its open connections.
_session = cache(open_session)


def wecom_client(corp: Corp) -> WeComClient:
    """The client of a corp's app, with the token that all processes share. Cheap: made for each piece of work.

    Raises UnreadableSecretError, as every client here does whose secrets or proxy no key opens.
    """
    return _client(corp, token_store(), agentid=corp.agentid, secret=opened(corp.secret))


def robot_client(corp: Corp, key: str) -> RobotClient:
    """The client of a group's robot, by the way on which the company is called."""
    return RobotClient(key=opened(key), **_wire(corp))


def robot_of_environment() -> RobotClient | None:
    """The client of settings.OPERATOR_ROBOT, which belongs to no company; None where it is not set."""
    if settings.OPERATOR_ROBOT is None:
        return None
    base_url, key = settings.OPERATOR_ROBOT
    return RobotClient(key=key, **_wire(None, base_url=base_url))


def contacts_client(corp: Corp) -> WeComClient:
    """The client of the directory-sync assistant, which has a secret of its own and no agent."""
    return _client(corp, token_store(), agentid=None, secret=opened(corp.contacts_secret))


def testing_client(corp: Corp) -> WeComClient:
    """The same with no token yet, so that its first call tries the Secret itself."""
    return _client(corp, TrialTokens(), agentid=corp.agentid, secret=opened(corp.secret))


def trial_client(corp: Corp, *, agentid: int, secret: str) -> WeComClient:
    """A client with credentials that are not those of `corp` (yet), and no token yet."""
    return _client(corp, TrialTokens(), agentid=agentid, secret=opened(secret))


def travel_to_wecom(corp: Corp) -> Journey:
    """Go the way to the corp's API address, through its proxy, without a Secret. Raises ConfigurationError."""
    return travel(
        corp.api_base_url,
        proxy=opened(corp.proxy_url),
        ca_bundle=certificate_path(corp.ca_bundle),
        connect_seconds=CONNECT_SECONDS,
        total_seconds=settings.WECOM_TOTAL_TIMEOUT_SECONDS,
    )


def token_store() -> TokenStore:
    """The token store of all processes: Valkey, sealed with the keys of settings.FIELD_ENCRYPTION_KEYS."""
    return _token_store(settings.VALKEY_URL, "wecom")


def bi_token_store() -> TokenStore:
    """The same for the BI's tokens, by accounts."""
    return _token_store(settings.VALKEY_URL, "guandata")


def callback_crypto(corp: Corp, kind: CallbackEvent.Kind) -> CallbackCrypto | None:
    """What opens the calls to one of a corp's callback addresses; None as long as it has no keys.

    Raises UnreadableSecretError.
    """
    columns = CALLBACK_COLUMNS[kind]
    token, aes_key = opened(getattr(corp, columns.token)), opened(getattr(corp, columns.aes_key))
    return CallbackCrypto(token, aes_key, corp.corpid) if token and aes_key else None


def guandata_client(connection: BiConnection, *, total_seconds: float | None = None) -> GuandataClient:
    """The client of the BI's public API, with the token that all processes share. `total_seconds`: for a whole call;
    usually that of settings."""
    return _guandata_client(connection, bi_token_store(), total_seconds)


def testing_guandata_client(connection: BiConnection) -> GuandataClient:
    """The same with no token yet, so that its first call tries the login itself."""
    return _guandata_client(connection, TrialTokens())


def forget_bi_token(connection: BiConnection) -> None:
    """Drop the token of the API user, because an administrator saved another address or login."""
    if not connection.base_url:
        return
    with suppress(TransientError):  # without Valkey nothing is remembered that could be wrong
        bi_token_store().forget(guandata_client(connection).account(), NO_APPLICATION)


def _guandata_client(
    connection: BiConnection, tokens: TokenStore | TrialTokens, total_seconds: float | None = None
) -> GuandataClient:
    login = None
    if connection.api_login and connection.api_password:
        login = Login(connection.api_domain, connection.api_login, opened(connection.api_password))
    return GuandataClient(
        base_url=connection.base_url,
        session=_session(),
        token_store=tokens,
        login=login,
        app_token=opened(connection.app_token),
        proxy=opened(connection.proxy_url),
        ca_bundle=certificate_path(connection.ca_bundle),
        connect_seconds=CONNECT_SECONDS,
        total_seconds=total_seconds or settings.WECOM_TOTAL_TIMEOUT_SECONDS,
        observe=metrics.count_bi_call,
    )


def certificate_path(pem: str) -> str | None:
    """The path of a file with these certificates; None for none."""
    return _certificate_file(pem).name if pem else None


def _client(corp: Corp, store: TokenStore | TrialTokens, *, agentid: int | None, secret: str) -> WeComClient:
    return WeComClient(corpid=corp.corpid, agentid=agentid, secret=secret, token_store=store, **_wire(corp))


def _wire(corp: Corp | None, *, base_url: str = "") -> WireOptions:
    """The way on which WeCom is called: that of a corp, or the usual one."""
    return {
        "session": _session(),
        "base_url": corp.api_base_url if corp else base_url,
        "timeouts": Timeouts(CONNECT_SECONDS, settings.WECOM_TOTAL_TIMEOUT_SECONDS),
        "proxy": opened(corp.proxy_url) if corp else "",
        "ca_bundle": certificate_path(corp.ca_bundle) if corp else None,
        "observe": metrics.count_wecom_call,
    }


@cache
def _token_store(_url: str, system: str) -> TokenStore:
    """One per process, so that its threads share what it read. The address is part of the cache's key only."""
    return TokenStore(
        valkey(),
        seal=lambda token: cipher().encrypt(token),
        unseal=lambda sealed: cipher().decrypt(sealed),
        prefix=f"{system}:token:",
        system=system,
    )


@cache
def _certificate_file(pem: str) -> IO[str]:
    """A file with these certificates, as long as this process lives: TLS reads them from a file only."""
    file = tempfile.NamedTemporaryFile("w", prefix="guanwecom-ca-", suffix=".pem")  # noqa: SIM115  # lives on
    file.write(pem)
    file.flush()
    return file
