"""Client of WeCom's server API. Sources: section titles at each call, all on developer.work.weixin.qq.com.

The client is constructed from plain values and does not import Django. A call is: token, deadline, send, HTTP status,
JSON, `errcode`, typed answer. It is repeated only once, after a stale token; every other retry belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Unpack

from integrations.clients.errors import IntegrationError
from integrations.clients.transport import total_deadline
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.builders import (
    MessageError,
    Payload,
    check_bytes,
    check_chatid,
    check_count,
    check_link,
    multipart,
)
from integrations.clients.wecom.calls import (
    Answer,
    AnswerError,
    Call,
    Wire,
    WireOptions,
    child,
    integer,
    integers,
    objects,
    optional_integer,
    optional_text,
    parse_answer,
    read_joined_ids,
    read_token,
    text,
    texts,
)
from integrations.clients.wecom.contacts import ContactCalls
from integrations.clients.wecom.tokens import FetchedToken, TokenStore, TrialTokens

NAME_CHARACTERS = 32
DESCRIPTION_CHARACTERS = (4, 120)
MENU_ENTRIES_AT_MOST = 3
MENU_NAME_BYTES = 16
MENU_URL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class AgentChanges:
    """Settings of an application to change; None leaves a setting as it is.

    `name`: at most 32 characters; `description`: 4 to 120; `redirect_domain`: a verified domain without scheme;
    `home_url`: with http or https.
    """

    name: str | None = None
    description: str | None = None
    redirect_domain: str | None = None
    home_url: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of agent/set. Raises MessageError."""
        if self.name is not None and not 1 <= len(self.name) <= NAME_CHARACTERS:
            raise MessageError("name", f"1 to {NAME_CHARACTERS} characters")
        shortest, longest = DESCRIPTION_CHARACTERS
        if self.description is not None and not shortest <= len(self.description) <= longest:
            raise MessageError("description", f"{shortest} to {longest} characters")
        if self.redirect_domain is not None and "/" in self.redirect_domain:
            raise MessageError("redirect_domain", "a domain without scheme and path")
        if self.home_url is not None and not self.home_url.startswith(("http://", "https://")):
            raise MessageError("home_url", "an address with http or https")
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Agent:
    """An application's settings in WeCom's console, with its visible scope."""

    agentid: int
    name: str = ""
    description: str = ""
    allowed_userids: tuple[str, ...] = ()
    allowed_department_ids: tuple[int, ...] = ()
    allowed_tag_ids: tuple[int, ...] = ()
    is_closed: bool = False
    redirect_domain: str = ""
    home_url: str = ""


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """An entry of the menu below the application's chat that opens `url`. Source: document/path/90231."""

    name: str
    url: str

    def fields(self, where: str) -> dict[str, Any]:
        """Return the fields of menu/create; `where` names the entry in an error. Raises MessageError."""
        check_bytes(f"{where}.name", self.name, MENU_NAME_BYTES)
        check_link(f"{where}.url", self.url, MENU_URL_BYTES)
        return {"type": "view", "name": self.name, "url": self.url}


def agent_from(answer: Answer) -> Agent:
    """Parse agent/get. The three `allow_*` objects may be missing."""
    users = objects(child(answer, "allow_userinfos"), "user")
    return Agent(
        agentid=integer(answer, "agentid"),
        name=optional_text(answer, "name"),
        description=optional_text(answer, "description"),
        allowed_userids=tuple(text(user, "userid") for user in users),
        allowed_department_ids=integers(child(answer, "allow_partys"), "partyid"),
        allowed_tag_ids=integers(child(answer, "allow_tags"), "tagid"),
        is_closed=optional_integer(answer, "close") == 1,
        redirect_domain=optional_text(answer, "redirect_domain"),
        home_url=optional_text(answer, "home_url"),
    )


def _menu_from(answer: Answer) -> Mapping[str, Any]:
    return {"button": list(objects(answer, "button", required=True))}


def addresses_from(answer: Answer) -> tuple[str, ...]:
    """Parse getcallbackip."""
    if not isinstance(answer.get("ip_list"), list):
        raise AnswerError("ip_list is missing")
    return texts(answer, "ip_list")


CHAT_MEMBERS = (2, 2000)
CHAT_NAME_CHARACTERS = 50
_SEND = "/cgi-bin/message/send"


@dataclass(frozen=True, slots=True)
class SendResult:
    """WeCom's answer to a message. Ids come back in lower case: compare without case. Acceptance is not delivery."""

    msgid: str = ""
    response_code: str = ""
    invalid_userids: tuple[str, ...] = ()
    unlicensed_userids: tuple[str, ...] = ()
    warning: str = ""


def send_result_from(answer: Answer) -> SendResult:
    """Parse the answer to a message. Never raises, because the message has been accepted whatever the answer is."""
    errmsg = optional_text(answer, "errmsg")
    return SendResult(
        msgid=optional_text(answer, "msgid"),
        response_code=optional_text(answer, "response_code"),
        invalid_userids=read_joined_ids(answer, "invaliduser"),
        unlicensed_userids=read_joined_ids(answer, "unlicenseduser"),
        warning=errmsg if "warning" in errmsg.lower() else "",
    )


@dataclass(frozen=True, slots=True)
class Chat:
    """A group chat of the application."""

    chatid: str
    name: str
    owner: str
    userids: tuple[str, ...]


def chat_from(answer: Answer) -> Chat:
    """Parse appchat/get."""
    chat = child(answer, "chat_info")
    return Chat(
        text(chat, "chatid"), optional_text(chat, "name"), optional_text(chat, "owner"), texts(chat, "userlist")
    )


def _chat_fields(name: str, owner: str) -> Payload:
    check_count("name", len(name), CHAT_NAME_CHARACTERS)
    return {field: value for field, value in (("name", name), ("owner", owner)) if value}


MediaKind = Literal["image", "file"]

SMALLEST_BYTES = 6  # "more than 5 bytes"
LARGEST_BYTES: dict[MediaKind, int] = {"image": 10 * 1024 * 1024, "file": 20 * 1024 * 1024}


def parse_media_id(answer: Answer) -> str:
    """Parse media/upload and webhook/upload_media."""
    return text(answer, "media_id")


def check_media(field: str, content: bytes, largest: int) -> None:
    """Raise MessageError, with `field`, unless `content` has SMALLEST_BYTES to `largest` bytes."""
    if not SMALLEST_BYTES <= len(content) <= largest:
        raise MessageError(field, f"{len(content)} bytes, {SMALLEST_BYTES} to {largest}")


class WeComClient(ContactCalls):
    """Client of WeCom for one application.

    `agentid`: None for the directory-sync assistant (通讯录同步), which has a secret but no agent. Raises only the
    classes of `integrations.clients.errors`, and MessageError for a value that WeCom would refuse.
    """

    def __init__(
        self,
        *,
        corpid: str,
        agentid: int | None,
        secret: str,
        token_store: TokenStore | TrialTokens,
        **wire: Unpack[WireOptions],
    ) -> None:
        self.corpid = corpid
        self.agentid = agentid
        self._secret = secret
        self._tokens = token_store
        self._wire = Wire(**wire)

    def __repr__(self) -> str:
        return f"WeComClient(corpid={self.corpid!r}, agentid={self.agentid!r})"

    def renew_token(self) -> None:
        """Check the Secret: fetch a new token even if one is stored. Raises the error of gettoken, also if
        another caller has just got it."""
        self._tokens.renew(self.corpid, self.agentid, self._gettoken)

    def jsapi_ticket(self) -> str:
        """Return the company's ticket for `oauth.sign`; the token store keeps it."""
        return self._tokens.get(self.corpid, self.agentid, self.get_jsapi_ticket, "jsapi_ticket")

    def _call(self, call: Call) -> Answer:
        """Make the call with the application's token; repeat it once with a new token if WeCom refuses this one."""
        with total_deadline(self._wire.seconds_for(call)):
            token = self._token()
            try:
                return self._call_once(call, token)
            except IntegrationError as error:
                if error.code not in errcodes.STALE_TOKEN_CODES:
                    raise
            return self._call_once(call, self._token())

    def _call_once(self, call: Call, token: str) -> Answer:
        """Make the call once. Drop a refused token, so that no later call uses it."""
        try:
            return self._wire.ask(call, {"access_token": token}, secrets=(token, self._secret))
        except IntegrationError as error:
            if error.code in errcodes.STALE_TOKEN_CODES:
                self._tokens.drop(self.corpid, self.agentid, token)
            raise

    def _token(self) -> str:
        return self._tokens.get(self.corpid, self.agentid, self._gettoken)

    def _gettoken(self) -> FetchedToken:
        credentials = {"corpid": self.corpid, "corpsecret": self._secret}
        answer = self._wire.ask(Call("gettoken", "/cgi-bin/gettoken"), credentials, secrets=(self._secret,))
        # `expires_in` may count down on a repeated get.
        return parse_answer("gettoken", lambda fields: read_token(fields, "access_token"), answer)

    # --- The application itself ---------------------------------------------------------------------------------------

    def agent_get(self) -> Agent:
        """Return name, visible scope, trusted domain and home page. Source: document/path/90227."""
        params = {"agentid": self._require_agentid("agent_get")}
        return self._read("agent_get", "/cgi-bin/agent/get", agent_from, params)

    def agent_set(self, changes: AgentChanges) -> None:
        """Change the settings that are not None. Source: document/path/90228."""
        values = {"agentid": self._require_agentid("agent_set"), **changes.fields()}
        self._write("agent_set", "/cgi-bin/agent/set", values)

    def menu_create(self, entries: Sequence[MenuEntry]) -> None:
        """Replace the menu of the application's chat by one to three entries. Source: document/path/90231."""
        check_count("button", len(entries), MENU_ENTRIES_AT_MOST, at_least=1)
        menu = {"button": [entry.fields(f"button[{index}]") for index, entry in enumerate(entries)]}
        params = {"agentid": self._require_agentid("menu_create")}
        self._write("menu_create", "/cgi-bin/menu/create", menu, params=params)

    def menu_get(self) -> Mapping[str, Any]:
        """Return the stored menu: `{"button": […]}`. Raises RecipientError (46003) if none is set.

        Source: document/path/90232.
        """
        params = {"agentid": self._require_agentid("menu_get")}
        return self._read("menu_get", "/cgi-bin/menu/get", _menu_from, params)

    def getcallbackip(self) -> tuple[str, ...]:
        """Return the addresses or ranges that callbacks come from; read them daily. Source: document/path/90930."""
        return self._read("getcallbackip", "/cgi-bin/getcallbackip", addresses_from)

    def get_jsapi_ticket(self) -> FetchedToken:
        """Fetch the company's ticket for `wx.config`, at most 100 an hour (use `jsapi_ticket`). Source: path/90506."""
        return self._read("get_jsapi_ticket", "/cgi-bin/get_jsapi_ticket", lambda answer: read_token(answer, "ticket"))

    # --- Messages. Raise OutcomeUnknownError if one may have been sent ------------------------------------------------

    def message_send(self, body: bytes) -> SendResult:
        """Send exactly the bytes of `body` (see `builders.body_bytes`). Partial success is a result, not an error.

        Raises RecipientError with the ids if nobody can receive it. Source: document/path/90236 (page of 2025-09-24).
        """
        answer = self._call(Call("message_send", _SEND, "POST", body=body, is_repeatable=False))
        return send_result_from(answer)

    def message_update_template_card(self, update: Payload) -> tuple[str, ...]:
        """Change a card (see `builders.card_update`); return the userids, in lower case, for whom that failed.

        A response_code works once. Source: document/path/94945 (page of 2025-07-24).
        """
        path = "/cgi-bin/message/update_template_card"
        answer = self._write("message_update_template_card", path, update, is_repeatable=False)
        return read_joined_ids(answer, "invaliduser")

    def message_recall(self, msgid: str) -> None:
        """Recall a message, within 24 h; the WeChat plug-in keeps it. Source: document/path/94867."""
        self._write("message_recall", "/cgi-bin/message/recall", {"msgid": msgid})

    # --- Group chats that the application owns (document/path/90245 to 90248): its visible scope is the root ----------

    def appchat_create(self, *, userids: Sequence[str], name: str = "", owner: str = "", chatid: str = "") -> str:
        """Create a chat of 2 to 2000 members and return its chatid. `name`: at most 50 characters. Without an `owner`
        WeCom picks a member. Without a `chatid` WeCom makes one, and an unclear failure may then have made a chat."""
        check_count("userlist", len(userids), CHAT_MEMBERS[1], at_least=CHAT_MEMBERS[0])
        values: Payload = {**_chat_fields(name, owner), "userlist": list(userids)}
        # WeCom compares ids without case.
        if owner and owner.lower() not in {userid.lower() for userid in userids}:
            raise MessageError("owner", "is not among the members")
        if chatid:
            check_chatid(chatid)
            values["chatid"] = chatid
        answer = self._write("appchat_create", "/cgi-bin/appchat/create", values, is_repeatable=False)
        return parse_answer("appchat_create", lambda fields: text(fields, "chatid"), answer)

    def appchat_update(
        self, chatid: str, *, name: str = "", owner: str = "", add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Change name, owner or members; an empty value changes nothing."""
        check_chatid(chatid)
        values: Payload = {"chatid": chatid, **_chat_fields(name, owner)}
        if add:
            values["add_user_list"] = list(add)
        if remove:
            values["del_user_list"] = list(remove)
        self._write("appchat_update", "/cgi-bin/appchat/update", values)

    def appchat_get(self, chatid: str) -> Chat:
        """Return name, owner and members."""
        check_chatid(chatid)
        return self._read("appchat_get", "/cgi-bin/appchat/get", chat_from, {"chatid": chatid})

    def appchat_send(self, body: bytes) -> None:
        """Send exactly the bytes of `body` (see `builders.chat_message`) into a chat. There is no duplicate check."""
        self._call(Call("appchat_send", "/cgi-bin/appchat/send", "POST", body=body, is_repeatable=False))

    def media_upload(
        self, content: bytes, *, kind: MediaKind, file_name: str, media_type: str = "application/octet-stream"
    ) -> str:
        """Upload a file for messages and return its media_id, valid for three days. The recipient sees `file_name`.

        `content`: more than 5 bytes; image (JPG, PNG) 10 MB, file 20 MB. Raises MessageError for any other size, and
        for a name with line breaks. Source: document/path/90253.
        """
        check_media("media", content, LARGEST_BYTES[kind])
        body, content_type = multipart(content, file_name=file_name, media_type=media_type)
        params = {"type": kind}
        call = Call("media_upload", "/cgi-bin/media/upload", "POST", params, body, content_type, is_transfer=True)
        return parse_answer("media_upload", parse_media_id, self._call(call))


class RobotClient:
    """Client of WeCom for one group robot (消息推送), which has a key and no token. `key`: from its webhook address.

    At most 20 messages a minute. There is no duplicate check: an unclear outcome must not be repeated blindly.
    Source: document/path/91770.
    """

    def __init__(self, *, key: str, **wire: Unpack[WireOptions]) -> None:
        self._key = key
        self._wire = Wire(**wire)

    def __repr__(self) -> str:
        return "RobotClient()"

    def webhook_send(self, body: bytes) -> SendResult:
        """Send exactly the bytes of `body` (see `robot_text`). A `warning` in the result: it may not be shown.

        Raises OutcomeUnknownError if it may have been sent: do not repeat it. Source: document/path/91770.
        """
        call = Call("webhook_send", "/cgi-bin/webhook/send", "POST", body=body, is_repeatable=False)
        return send_result_from(self._send(call))

    def webhook_upload_media(
        self,
        content: bytes,
        *,
        file_name: str,
        media_type: str = "application/octet-stream",
    ) -> str:
        """Upload a file of 6 bytes to 20 MB for this robot and return its media_id, valid for three days.

        Raises MessageError for any other size. Source: document/path/91770.
        """
        check_media("media", content, LARGEST_BYTES["file"])
        body, content_type = multipart(content, file_name=file_name, media_type=media_type)
        path, params = "/cgi-bin/webhook/upload_media", {"type": "file"}
        call = Call("webhook_upload_media", path, "POST", params, body, content_type, is_transfer=True)
        return parse_answer("webhook_upload_media", parse_media_id, self._send(call))

    def _send(self, call: Call) -> Answer:
        return self._wire.ask(call, {"key": self._key}, secrets=(self._key,))
