"""Client of WeCom's server API. Sources: section titles at each call, all on developer.work.weixin.qq.com.

Constructed from plain values; knows nothing of Django. A call is: token, deadline, send, HTTP status, JSON,
`errcode`, typed answer. The only repeat is the one after a stale token; every other retry belongs to the caller.
"""

from __future__ import annotations

import requests

from integrations.clients.errors import IntegrationError, Observe, ignore_call, observe_call
from integrations.clients.wecom import deadline, errcodes
from integrations.clients.wecom.api.agent import AppCalls
from integrations.clients.wecom.api.base import Answer, Call, Request, answer_of, lasting, typed
from integrations.clients.wecom.api.contacts import ContactCalls, LoginCalls
from integrations.clients.wecom.api.media import LARGEST_BYTES, MediaCalls, check_media, media_id_from
from integrations.clients.wecom.api.messages import ChatCalls, MessageCalls, SendResult, send_result_from
from integrations.clients.wecom.builders import multipart
from integrations.clients.wecom.token_store import FetchedToken, TokenStore
from integrations.clients.wecom.transport import API_BASE_URL, USUAL_TIMEOUTS, Timeouts, Transport


class WeComClient(LoginCalls, ContactCalls, AppCalls, MessageCalls, ChatCalls, MediaCalls):
    """Calls WeCom for one application.

    `agentid`: None for the directory-sync assistant (通讯录同步), which has a secret but no agent. `session`: from
    `open_session`, may be shared by clients and threads. `proxy`: an address, empty for none. `ca_bundle`: path of
    a file of certificates to trust instead of the usual ones. Raises the classes of `integrations.clients.errors` only,
    and MessageError for a value that WeCom would refuse.
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
        timeouts: Timeouts = USUAL_TIMEOUTS,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        observe: Observe = ignore_call,
    ) -> None:
        self.corpid = corpid
        self.agentid = agentid
        self._secret = secret
        self._tokens = token_store
        self._observe = observe
        self._transport = Transport(
            base_url=base_url, session=session, timeouts=timeouts, proxy=proxy, ca_bundle=ca_bundle
        )

    def __repr__(self) -> str:
        return f"WeComClient(corpid={self.corpid!r}, agentid={self.agentid!r})"

    def renew_token(self) -> None:
        """Try the Secret: ask for a token though there may be one, for everybody. Raises what gettoken raises, also
        where another caller has just asked."""
        self._tokens.renew(self.corpid, self.agentid, self._gettoken)

    def jsapi_ticket(self) -> str:
        """The company's ticket for `jssdk.sign`, kept in the token store."""
        return self._tokens.get(self.corpid, self.agentid, self.get_jsapi_ticket, "jsapi_ticket")

    def _call(self, call: Call) -> Answer:
        """One call with the application's token: once more with another token if WeCom refuses this one."""
        with deadline.total_deadline(self._transport.seconds_for(call)):
            token = self._token()
            try:
                return self._once(call, token)
            except IntegrationError as error:
                if error.code not in errcodes.STALE_TOKEN_CODES:
                    raise
            return self._once(call, self._token())

    def _once(self, call: Call, token: str) -> Answer:
        """One call. A token that WeCom refuses is dropped, so that no later call is made with it."""
        request = Request(call.operation, call.is_repeatable, secrets=(token, self._secret))
        try:
            with observe_call(self._observe, call.operation):
                return answer_of(request, self._transport.exchange(request, call, {"access_token": token}))
        except IntegrationError as error:
            if error.code in errcodes.STALE_TOKEN_CODES:
                self._tokens.drop(self.corpid, self.agentid, token)
            raise

    def _token(self) -> str:
        return self._tokens.get(self.corpid, self.agentid, self._gettoken)

    def _gettoken(self) -> FetchedToken:
        request = Request("gettoken", is_repeatable=True, secrets=(self._secret,))
        credentials = {"corpid": self.corpid, "corpsecret": self._secret}
        with observe_call(self._observe, "gettoken"):
            reply = self._transport.exchange(request, Call("gettoken", "/cgi-bin/gettoken"), credentials)
            return typed("gettoken", _token_from, answer_of(request, reply))


def _token_from(answer: Answer) -> FetchedToken:
    return lasting(answer, "access_token")  # `expires_in` may count down on a repeated get


class RobotClient:
    """Calls WeCom for one group robot (消息推送), which has a key and no token. `key`: from its webhook address.

    At most 20 messages a minute. There is no duplicate check: an unclear outcome must not be repeated blindly.
    Source: document/path/91770.
    """

    def __init__(
        self,
        *,
        key: str,
        base_url: str = API_BASE_URL,
        session: requests.Session,
        timeouts: Timeouts = USUAL_TIMEOUTS,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        observe: Observe = ignore_call,
    ) -> None:
        self._key = key
        self._observe = observe
        self._transport = Transport(
            base_url=base_url, session=session, timeouts=timeouts, proxy=proxy, ca_bundle=ca_bundle
        )

    def __repr__(self) -> str:
        return "RobotClient()"

    def webhook_send(self, body: bytes) -> SendResult:
        """Send exactly the bytes of `body` (see `robot_text`). A `warning` in the result: it may not have been shown.

        Raises OutcomeUnknownError where it may have gone out: do not repeat it. Source: document/path/91770.
        """
        call = Call("webhook_send", "/cgi-bin/webhook/send", "POST", body=body, is_repeatable=False)
        return send_result_from(self._answered(call))

    def webhook_upload_media(
        self,
        content: bytes,
        *,
        file_name: str,
        media_type: str = "application/octet-stream",
    ) -> str:
        """Upload a file of 6 bytes to 20 MB for this robot, for three days; returns its media_id.

        Raises MessageError for any other size. Source: document/path/91770.
        """
        check_media("media", content, LARGEST_BYTES["file"])
        body, content_type = multipart(content, file_name=file_name, media_type=media_type)
        path, params = "/cgi-bin/webhook/upload_media", {"type": "file"}
        call = Call("webhook_upload_media", path, "POST", params, body, content_type, is_transfer=True)
        return typed("webhook_upload_media", media_id_from, self._answered(call))

    def _answered(self, call: Call) -> Answer:
        request = Request(call.operation, call.is_repeatable, secrets=(self._key,))
        with observe_call(self._observe, call.operation):
            return answer_of(request, self._transport.exchange(request, call, {"key": self._key}))
