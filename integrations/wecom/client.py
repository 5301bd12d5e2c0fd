"""The one door to WeCom. Sources: section titles at each call, all on developer.work.weixin.qq.com.

Constructed from plain values; knows nothing of Django. A call is: token, deadline, send, HTTP status, JSON,
`errcode`, typed answer. The only repeat is the one after a stale token; every other retry belongs to the caller.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.poolmanager import PoolManager

from integrations.errors import (
    BadRequestError,
    ConfigurationError,
    IntegrationError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.wecom import deadline, errcodes, schemas
from integrations.wecom.answers import Asked, answer_of
from integrations.wecom.tokens import FetchedToken, TokenStore

T = TypeVar("T")

ANSWER_BYTES_AT_MOST = 32 * 1024 * 1024  # the largest file is 20 MB, the longest list about as much
API_BASE_URL = "https://qyapi.weixin.qq.com"
JSON_TYPE = "application/json; charset=UTF-8"
USER_AGENT = "guanwecom"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `connect_seconds` for each address of the host; `total_seconds` from the first byte out to the last
    byte in, whatever happens between; `transfer_seconds` the same for files."""

    connect_seconds: float = 5.0
    total_seconds: float = 15.0
    transfer_seconds: float = 60.0


_USUAL_TIMEOUTS = Timeouts()
_NO_PARAMS: Mapping[str, str | int] = MappingProxyType({})


class _NoQueries(logging.Filter):
    """Cuts the query off every address in a log record, because WeCom's carry secrets and tokens."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(arg) for arg in record.args)
        return True


def _without_query(value: object) -> object:
    shown = value if isinstance(value, str | int | float) else str(value)
    return re.sub(r"\?[^\s'\")]*", "?…", shown) if isinstance(shown, str) else shown


for _name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.response"):
    logging.getLogger(_name).addFilter(_NoQueries())


class DeadlineAdapter(HTTPAdapter):
    """requests over connections that end at their deadline."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = deadline.POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = deadline.POOL_CLASSES
        return manager


def open_session(*, connections: int = 32) -> requests.Session:
    """A session for clients. Keeps up to `connections` open per host, keeps no cookie, reads no environment."""
    session = requests.Session()
    session.trust_env = False
    adapter = DeadlineAdapter(pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class WeComClient:
    """Calls WeCom for one application.

    `agentid`: None for the directory-sync assistant (通讯录同步), which has a secret but no agent. `session`: from
    `open_session`, may be shared by clients and threads. `proxy`: an address, empty for none. `ca_bundle`: path of
    a file of certificates to trust instead of the usual ones. Raises the classes of `integrations.errors` only.
    """

    def __init__(
        self,
        *,
        corpid: str,
        agentid: int | None,
        secret: str,
        base_url: str = API_BASE_URL,
        session: requests.Session,
        token_store: TokenStore,
        timeouts: Timeouts = _USUAL_TIMEOUTS,
        proxy: str | None = None,
        ca_bundle: str | None = None,
    ) -> None:
        self.corpid = corpid
        self.agentid = agentid
        self._secret = secret
        self._base_url = _checked_base_url(base_url)
        self._tokens = token_store
        self._timeouts = timeouts
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._verify: str | bool = ca_bundle or True
        adapter = session.get_adapter(self._base_url)
        if not isinstance(adapter, DeadlineAdapter):
            raise TypeError("the session must come from open_session(), which enforces deadlines")
        self._adapter = adapter

    def __repr__(self) -> str:
        return f"WeComClient(corpid={self.corpid!r}, agentid={self.agentid!r})"

    def agent_get(self) -> schemas.Agent:
        """The application itself: name, visible scope, trusted domain, home page. Source: document/path/90227."""
        return self._read("agent_get", "/cgi-bin/agent/get", schemas.agent_from, agentid=self._own_agentid())

    def auth_getuserinfo(self, code: str) -> schemas.Identity:
        """Who came with `code`, which works once and for 5 minutes. A member outside the scope has a userid too.

        Raises LoginRefusedError for a used or old code. Source: document/path/91023.
        """
        return self._read("auth_getuserinfo", "/cgi-bin/auth/getuserinfo", schemas.identity_from, code=code)

    def user_get(self, userid: str) -> schemas.User:
        """One member. Raises RecipientError if the application may not see this one. Source: document/path/90196."""
        return self._read("user_get", "/cgi-bin/user/get", schemas.user_from, userid=userid)

    def message_send(self, body: bytes) -> schemas.SendResult:
        """Send exactly the bytes of `body` (see `messages.body_bytes`). Partial success is a result, not an error.

        Raises RecipientError with the ids where nobody can receive it, OutcomeUnknownError where it may have gone
        out. Source: document/path/90236.
        """
        answer = self._call("message_send", "POST", "/cgi-bin/message/send", body=body, is_repeatable=False)
        return schemas.send_result_from(answer)

    def _own_agentid(self) -> int:
        if self.agentid is None:
            raise BadRequestError("the directory-sync assistant has no agentid", system="wecom", operation="agentid")
        return self.agentid

    def _read(self, operation: str, path: str, parse: Callable[[schemas.Answer], T], **params: str | int) -> T:
        return self._typed(operation, parse, self._call(operation, "GET", path, params=params))

    def _typed(self, operation: str, parse: Callable[[schemas.Answer], T], answer: schemas.Answer) -> T:
        try:
            return parse(answer)
        except schemas.AnswerError as error:
            raise UnexpectedResponseError(
                f"answer misses a field: {error}", system="wecom", operation=operation
            ) from error

    def _call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] = _NO_PARAMS,
        body: bytes | None = None,
        is_repeatable: bool = True,
    ) -> schemas.Answer:
        """One call with the application's token: once more with another token if WeCom refuses this one."""
        token = self._token()
        asked = Asked(operation, is_repeatable, secrets=(token, self._secret))
        try:
            return self._exchange(asked, method, path, {"access_token": token, **params}, body)
        except IntegrationError as error:
            if error.code not in errcodes.STALE_TOKEN_CODES:
                raise
        self._tokens.drop(self.corpid, self.agentid, token)
        token = self._token()
        asked = Asked(operation, is_repeatable, secrets=(token, self._secret))
        return self._exchange(asked, method, path, {"access_token": token, **params}, body)

    def _token(self) -> str:
        return self._tokens.get(self.corpid, self.agentid, self._gettoken)

    def _gettoken(self) -> FetchedToken:
        asked = Asked("gettoken", is_repeatable=True, secrets=(self._secret,))
        params = {"corpid": self.corpid, "corpsecret": self._secret}
        answer = self._exchange(asked, "GET", "/cgi-bin/gettoken", params, None)
        return self._typed("gettoken", schemas.token_from, answer)

    def _exchange(
        self, asked: Asked, method: str, path: str, params: Mapping[str, str | int], body: bytes | None
    ) -> schemas.Answer:
        """Send and read one answer, without the token's business."""
        request = self._prepared(method, path, params, body)
        failure: Exception | None = None
        with deadline.total_deadline(self._timeouts.total_seconds):
            try:
                status, content = self._received(request)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = error
        # Why here? Raised inside the block above, the error would carry requests' own, which prints the address
        # with the secret in it.
        if failure is not None:
            raise _connection_error(asked, failure)
        return answer_of(asked, status, content)

    def _prepared(
        self, method: str, path: str, params: Mapping[str, str | int], body: bytes | None
    ) -> requests.PreparedRequest:
        request = requests.PreparedRequest()
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": USER_AGENT}
        if body is not None:
            headers["Content-Type"] = JSON_TYPE
        url = f"{self._base_url}{path}?{urlencode(params, quote_via=quote, safe='')}"
        request.prepare(method=method, url=url, headers=headers, data=body)
        return request

    def _received(self, request: requests.PreparedRequest) -> tuple[int, bytes]:
        response = self._adapter.send(
            request,
            stream=True,
            timeout=self._timeouts.connect_seconds,
            verify=self._verify,
            proxies=self._proxies,
        )
        try:
            content: bytes = response.raw.read(ANSWER_BYTES_AT_MOST + 1, decode_content=True)
        finally:
            # A connection whose answer was read to its end has gone back to the pool by then, another is closed.
            response.close()
        if len(content) > ANSWER_BYTES_AT_MOST:
            raise OSError("the answer is too long")
        return response.status_code, content


def _checked_base_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        message = "the base address must have http or https, a host and no query"
        raise ConfigurationError(message, system="wecom", operation="base_url")
    return base_url.rstrip("/")


def _connection_error(asked: Asked, failure: Exception) -> IntegrationError:
    """What a failure below HTTP means. Only without a connection is it certain that nothing was sent."""
    cause = _root(failure)
    name = type(cause).__name__
    if isinstance(failure, _WRONG_ADDRESS):
        message = f"the address or the proxy of WeCom cannot be used ({name})"
        return ConfigurationError(message, system="wecom", operation=asked.operation)
    if isinstance(cause, deadline.NotConnectedError) and cause.is_certificate_refused:
        message = "the certificate of WeCom's address is not trusted"
        return ConfigurationError(message, system="wecom", operation=asked.operation)
    if isinstance(failure, requests.ConnectTimeout) or isinstance(cause, urllib3.exceptions.NewConnectionError):
        return TransientError(f"no connection ({name})", system="wecom", operation=asked.operation)
    return asked.unclear(f"the connection failed before the answer was complete ({name})")


_WRONG_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
)


def _root(failure: Exception) -> BaseException:
    """The error inside what requests and urllib3 wrapped around it."""
    cause: BaseException = failure
    for _depth in range(5):
        inner = getattr(cause, "reason", None) or getattr(cause, "original_error", None)
        if inner is None and isinstance(cause, requests.RequestException) and cause.args:
            inner = cause.args[0]
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return cause
