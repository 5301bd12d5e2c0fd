"""Clients of WeCom and the BI, made from rows, whose secrets are decrypted here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import IO

from django.conf import settings

from integrations.clients.errors import TransientError
from integrations.clients.guandata import GuandataClient, Login
from integrations.clients.network import ProbeResult, probe_route
from integrations.clients.transport import open_session
from integrations.clients.wecom.callbacks import CallbackCrypto
from integrations.clients.wecom.calls import Timeouts, Wire
from integrations.clients.wecom.client import RobotClient, WeComClient
from integrations.clients.wecom.tokens import TokenStore, TrialTokens
from integrations.core import metrics
from integrations.core.redis import valkey
from integrations.models import BiConnection, CallbackEvent, Corp
from integrations.models.fields import get_cipher, require_readable


@dataclass(frozen=True, slots=True)
class CallbackColumns:
    """The columns of Corp that belong to one of its two callback addresses."""

    token: str
    aes_key: str
    verified_at: str


# Time limit for opening a connection.
CONNECT_SECONDS = 3.05
CALLBACK_COLUMNS = {
    CallbackEvent.Kind.APP: CallbackColumns("callback_token", "callback_aes_key", "callback_verified_at"),
    CallbackEvent.Kind.CONTACTS: CallbackColumns(
        "contacts_callback_token", "contacts_callback_aes_key", "contacts_callback_verified_at"
    ),
}

# One per process, so that clients share its open connections.
_session = cache(open_session)


def wecom_client(corp: Corp) -> WeComClient:
    """Return the client of a corp's app, with the token shared by all processes. It is cheap: make one per task.

    Raises UnreadableSecretError, like every client here, if no key decrypts its secrets or proxy.
    """
    return _client(corp, token_store(), agentid=corp.agentid, secret=require_readable(corp.secret))


def robot_client(corp: Corp, key: str) -> RobotClient:
    """Return the client of a group's robot, with the connection settings of the company."""
    return RobotClient(key=require_readable(key), wire=_wire(corp))


def make_operator_robot_client() -> RobotClient | None:
    """Return the client of settings.OPERATOR_ROBOT, which belongs to no company; None if it is not set."""
    if settings.OPERATOR_ROBOT is None:
        return None
    base_url, key = settings.OPERATOR_ROBOT
    return RobotClient(key=key, wire=_wire(None, base_url=base_url))


def contacts_client(corp: Corp) -> WeComClient:
    """Return the client of the contacts assistant (通讯录同步), which has its own secret and no agent."""
    return _client(corp, token_store(), agentid=None, secret=require_readable(corp.contacts_secret))


def trial_client(corp: Corp, *, agentid: int, secret: str) -> WeComClient:
    """Return a client with these credentials, saved or not. It shares no token, so its first call tries them."""
    return _client(corp, TrialTokens(), agentid=agentid, secret=require_readable(secret))


def probe_wecom_route(corp: Corp) -> ProbeResult:
    """Probe the way to the corp's API address, through its proxy, without a Secret. Raises ConfigurationError."""
    return probe_route(
        corp.api_base_url,
        proxy=require_readable(corp.proxy_url),
        ca_bundle=find_certificate_path(corp.ca_bundle),
        connect_seconds=CONNECT_SECONDS,
        total_seconds=settings.WECOM_TOTAL_TIMEOUT_SECONDS,
    )


def token_store() -> TokenStore:
    """Return the token store of all processes: Valkey, encrypted with settings.FIELD_ENCRYPTION_KEYS."""
    return _token_store(settings.VALKEY_URL, "wecom")


def bi_token_store() -> TokenStore:
    """Return the store of the BI's tokens, by account."""
    return _token_store(settings.VALKEY_URL, "guandata")


def callback_crypto(corp: Corp, kind: CallbackEvent.Kind) -> CallbackCrypto | None:
    """Return the object that decrypts for one of a corp's callback addresses; None if the address has no keys.

    Raises UnreadableSecretError.
    """
    columns = CALLBACK_COLUMNS[kind]
    token, aes_key = require_readable(getattr(corp, columns.token)), require_readable(getattr(corp, columns.aes_key))
    return CallbackCrypto(token, aes_key, corp.corpid) if token and aes_key else None


def guandata_client(connection: BiConnection, *, total_seconds: float | None = None) -> GuandataClient:
    """Return the client of the BI's public API, with the token shared by all processes. `total_seconds`: for a whole
    call; by default that of settings."""
    return _guandata_client(connection, bi_token_store(), total_seconds)


def trial_guandata_client(connection: BiConnection) -> GuandataClient:
    """Return a client of the BI that shares no token, so that its first call tries the login."""
    return _guandata_client(connection, TrialTokens())


def forget_tokens(store: TokenStore, applications: Iterable[tuple[str, int | None]]) -> None:
    """Drop the tokens of these (CorpId or BI account, AgentId), because an administrator saved other credentials."""
    with suppress(TransientError):  # without Valkey the old tokens stay, until WeCom or the BI refuses them
        for corpid, agentid in applications:
            store.forget(corpid, agentid)


def _guandata_client(
    connection: BiConnection, tokens: TokenStore | TrialTokens, total_seconds: float | None = None
) -> GuandataClient:
    login = None
    if connection.api_login and connection.api_password:
        login = Login(connection.api_domain, connection.api_login, require_readable(connection.api_password))
    return GuandataClient(
        base_url=connection.base_url,
        session=_session(),
        token_store=tokens,
        login=login,
        app_token=require_readable(connection.app_token),
        proxy=require_readable(connection.proxy_url),
        ca_bundle=find_certificate_path(connection.ca_bundle),
        connect_seconds=CONNECT_SECONDS,
        total_seconds=total_seconds or settings.WECOM_TOTAL_TIMEOUT_SECONDS,
        observe=metrics.count_bi_call,
    )


def find_certificate_path(pem: str) -> str | None:
    """Return the path of a file with these certificates; None if there are none."""
    return _certificate_file(pem).name if pem else None


def _client(corp: Corp, store: TokenStore | TrialTokens, *, agentid: int | None, secret: str) -> WeComClient:
    return WeComClient(corpid=corp.corpid, agentid=agentid, secret=secret, token_store=store, wire=_wire(corp))


def _wire(corp: Corp | None, *, base_url: str = "") -> Wire:
    """Return the connection to WeCom, with the settings of a corp or the default ones."""
    return Wire(
        session=_session(),
        base_url=corp.api_base_url if corp else base_url,
        timeouts=Timeouts(CONNECT_SECONDS, settings.WECOM_TOTAL_TIMEOUT_SECONDS),
        proxy=require_readable(corp.proxy_url) if corp else "",
        ca_bundle=find_certificate_path(corp.ca_bundle) if corp else None,
        observe=metrics.count_wecom_call,
    )


@cache
def _token_store(_url: str, system: str) -> TokenStore:
    """Return one store per process, so that threads share its copies. `_url` is only a part of the cache's key."""
    return TokenStore(
        valkey(),
        encrypt=lambda token: get_cipher().encrypt(token),
        decrypt=lambda encrypted: get_cipher().decrypt(encrypted),
        prefix=f"{system}:token:",
        system=system,
    )


@cache
def _certificate_file(pem: str) -> IO[str]:
    """Return a file with these certificates that lives as long as this process: TLS reads them only from a file."""
    file = tempfile.NamedTemporaryFile("w", prefix="guanwecom-ca-", suffix=".pem")  # noqa: SIM115  # lives on
    file.write(pem)
    file.flush()
    return file
