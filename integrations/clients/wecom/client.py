"""Client of WeCom's server API. Each method names its source, a page of developer.work.weixin.qq.com.

The client is constructed from plain values and does not import Django. The steps of a call: deadline, token, request,
HTTP status, JSON, `errcode`, typed answer. It is repeated once after a stale token; any other retry is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

from integrations.clients.errors import BadRequestError, IntegrationError, UnexpectedResponseError
from integrations.clients.transport import total_deadline
from integrations.clients.wecom import errcodes
from integrations.clients.wecom.builders import (
    MediaKind,
    MessageError,
    Payload,
    check_bytes,
    check_chatid,
    check_count,
    check_link,
    drop_empty_fields,
    encode_body,
)
from integrations.clients.wecom.calls import (
    Answer,
    AnswerError,
    Call,
    Params,
    Wire,
    parse_answer,
    read_child,
    read_integer,
    read_integers,
    read_joined_ids,
    read_objects,
    read_optional_integer,
    read_optional_text,
    read_text,
    read_texts,
    read_token,
)
from integrations.clients.wecom.contacts import (
    Department,
    Identity,
    MemberPage,
    MemberRow,
    Tag,
    User,
    parse_department,
    parse_departments,
    parse_user,
    parse_users,
)
from integrations.clients.wecom.tokens import FetchedToken, TokenStore, TrialTokens

MENU_ENTRIES_AT_MOST = 3
MENU_NAME_BYTES = 16
MENU_URL_BYTES = 1024
CHAT_NAME_CHARACTERS = 50
CHAT_MEMBERS_AT_LEAST, CHAT_MEMBERS_AT_MOST = 2, 2000
ROWS_A_PAGE = 10_000
PAGES_AT_MOST = 200  # two million rows
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Agent:
    """An application's settings in WeCom's console, with its visible scope."""

    agentid: int
    name: str = ""
    allowed_userids: tuple[str, ...] = ()
    allowed_department_ids: tuple[int, ...] = ()
    allowed_tag_ids: tuple[int, ...] = ()
    is_closed: bool = False
    redirect_domain: str = ""
    home_url: str = ""


@dataclass(frozen=True, slots=True)
class SendResult:
    """WeCom's answer to a message. Ids come back in lower case: compare without case. Acceptance is not delivery."""

    msgid: str = ""
    response_code: str = ""
    invalid_userids: tuple[str, ...] = ()
    unlicensed_userids: tuple[str, ...] = ()
    warning: str = ""


def parse_send_result(answer: Answer) -> SendResult:
    """Parse the answer to a message. Never raises, because the message has been accepted whatever the answer is."""
    errmsg = read_optional_text(answer, "errmsg")
    return SendResult(
        msgid=read_optional_text(answer, "msgid"),
        response_code=read_optional_text(answer, "response_code"),
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


def _check_chat_name(name: str) -> None:
    if len(name) > CHAT_NAME_CHARACTERS:
        raise MessageError("name", f"{len(name)} characters, at most {CHAT_NAME_CHARACTERS}")


MEDIA_BYTES_AT_LEAST = 6  # WeCom's documentation says: more than 5 bytes
MEDIA_BYTES_AT_MOST: dict[MediaKind, int] = {"image": 10 * 1024 * 1024, "file": 20 * 1024 * 1024}


def parse_media_id(answer: Answer) -> str:
    """Parse the answer to media/upload or webhook/upload_media."""
    return read_text(answer, "media_id")


def _make_upload(
    path: str, content: bytes, *, kind: MediaKind, file_name: str, media_type: str, secrets: tuple[str, ...] = ()
) -> Call:
    """Return the call that uploads a file, as a form with one part named `media`.

    The library requests cannot build this form, because the file's name must be raw UTF-8: WeCom does not understand
    `filename*=utf-8''…` (44001), and shows a percent-encoded name to the recipient unchanged. Raises MessageError for a
    wrong size, and for a name with line breaks.
    """
    if not MEDIA_BYTES_AT_LEAST <= len(content) <= MEDIA_BYTES_AT_MOST[kind]:
        raise MessageError("media", f"{len(content)} bytes, {MEDIA_BYTES_AT_LEAST} to {MEDIA_BYTES_AT_MOST[kind]}")
    if not file_name or any(ord(character) < 32 for character in file_name):
        raise MessageError("filename", "is empty or holds control characters")
    if any(ord(character) < 33 for character in media_type) or not media_type.isascii():
        raise MessageError("media_type", "not a media type")
    try:
        name = file_name.replace("\\", "_").replace('"', "_").encode()
    except UnicodeEncodeError as error:
        raise MessageError("filename", "holds half of a surrogate pair") from error
    boundary = token_hex(16).encode()
    head = (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="media"; filename="' + name + b'"\r\n'
        b"Content-Type: " + media_type.encode() + b"\r\n\r\n"
    )
    body = head + content + b"\r\n--" + boundary + b"--\r\n"
    content_type = f"multipart/form-data; boundary={boundary.decode()}"
    return Call(path, "POST", {"type": kind}, body, content_type, is_transfer=True, secrets=secrets)


class WeComClient:
    """Client of WeCom for one application.

    `agentid`: None for the contacts assistant (通讯录同步), which has a secret but no agent. Raises only the
    classes of `integrations.clients.errors`, and MessageError for a value that WeCom would refuse. From a method that
    reads people or departments, RecipientError means: they do not exist, or the application may not see them.
    """

    def __init__(
        self, *, corpid: str, agentid: int | None, secret: str, token_store: TokenStore | TrialTokens, wire: Wire
    ) -> None:
        self.corpid = corpid
        self.agentid = agentid
        self._secret = secret
        self._tokens = token_store
        self._wire = wire

    def __repr__(self) -> str:
        return f"WeComClient(corpid={self.corpid!r}, agentid={self.agentid!r})"

    def renew_token(self) -> None:
        """Check the Secret: fetch a new token even if one is stored. Raises the error of gettoken."""
        self._tokens.renew(self.corpid, self.agentid, self._gettoken)

    def find_jsapi_ticket(self) -> str:
        """Return the company's ticket for `oauth.sign_page`; the token store keeps it."""
        return self._tokens.get(self.corpid, self.agentid, self.get_jsapi_ticket, "jsapi_ticket")

    def _read(self, path: str, parse: Callable[[Answer], T], **params: str | int) -> T:
        call = Call(path, params=params)
        return parse_answer(call.operation, parse, self._call(call))

    def _write(
        self, path: str, values: Mapping[str, Any], *, params: Params | None = None, is_repeatable: bool = True
    ) -> Answer:
        return self._call(Call(path, "POST", params or {}, encode_body(values), is_repeatable=is_repeatable))

    def _call(self, call: Call) -> Answer:
        """Make the call with the application's token; repeat it once with a new token if WeCom refuses this one."""
        with total_deadline(self._wire.find_time_limit(call)):
            token = self._find_token()
            try:
                return self._call_once(call, token)
            except IntegrationError as error:
                if error.code not in errcodes.STALE_TOKEN_CODES:
                    raise
            return self._call_once(call, self._find_token())

    def _call_once(self, call: Call, token: str) -> Answer:
        """Make the call once. Drop a refused token, so that no later call uses it."""
        try:
            return self._wire.send_call(replace(call, secrets=(token, self._secret)), {"access_token": token})
        except IntegrationError as error:
            if error.code in errcodes.STALE_TOKEN_CODES:
                self._tokens.drop(self.corpid, self.agentid, token)
            raise

    def _find_token(self) -> str:
        return self._tokens.get(self.corpid, self.agentid, self._gettoken)

    def _gettoken(self) -> FetchedToken:
        credentials = {"corpid": self.corpid, "corpsecret": self._secret}
        answer = self._wire.send_call(Call("gettoken", secrets=(self._secret,)), credentials)
        # WeCom may give a token again; `expires_in` is then the rest of its lifetime.
        return parse_answer("gettoken", lambda fields: read_token(fields, "access_token"), answer)

    @property
    def _own_agentid(self) -> int:
        """The agentid. Raises BadRequestError for the contacts assistant."""
        if self.agentid is None:
            message = "the contacts assistant has no agentid"
            raise BadRequestError(message, system="wecom", operation="agentid")
        return self.agentid

    # --- The application itself ---------------------------------------------------------------------------------------

    def agent_get(self) -> Agent:
        """Return name, visible scope, trusted domain and home page. Source: document/path/90227."""

        def parse(answer: Answer) -> Agent:
            # Each of the three fields `allow_*` may be missing.
            users = read_objects(read_child(answer, "allow_userinfos"), "user")
            return Agent(
                agentid=read_integer(answer, "agentid"),
                name=read_optional_text(answer, "name"),
                allowed_userids=tuple(read_text(user, "userid") for user in users),
                allowed_department_ids=read_integers(read_child(answer, "allow_partys"), "partyid"),
                allowed_tag_ids=read_integers(read_child(answer, "allow_tags"), "tagid"),
                is_closed=read_optional_integer(answer, "close") == 1,
                redirect_domain=read_optional_text(answer, "redirect_domain"),
                home_url=read_optional_text(answer, "home_url"),
            )

        return self._read("agent/get", parse, agentid=self._own_agentid)

    def agent_set(self, **changes: str) -> None:
        """Change the application's `home_url` (with http or https) or `redirect_domain` (a verified domain without
        scheme). Source: document/path/90228."""
        self._write("agent/set", {"agentid": self._own_agentid, **changes})

    def menu_create(self, entries: Sequence[tuple[str, str]]) -> None:
        """Replace the menu below the application's chat by one to three entries: names, and the addresses that they
        open. Raises MessageError. Source: document/path/90231."""
        check_count("button", len(entries), MENU_ENTRIES_AT_MOST)
        for index, (name, url) in enumerate(entries):
            check_bytes(f"button[{index}].name", name, MENU_NAME_BYTES)
            check_link(f"button[{index}].url", url, MENU_URL_BYTES)
        buttons = [{"type": "view", "name": name, "url": url} for name, url in entries]
        self._write("menu/create", {"button": buttons}, params={"agentid": self._own_agentid})

    def menu_get(self) -> Mapping[str, Any]:
        """Return the stored menu: `{"button": […]}`. Raises RecipientError (46003) if none is set.

        Source: document/path/90232.
        """
        buttons = self._read(
            "menu/get", lambda answer: read_objects(answer, "button", required=True), agentid=self._own_agentid
        )
        return {"button": list(buttons)}

    def getcallbackip(self) -> tuple[str, ...]:
        """Return the addresses or ranges from which callbacks come; read them daily. Source: document/path/90930."""
        return self._read("getcallbackip", lambda answer: read_texts(answer, "ip_list", required=True))

    def get_jsapi_ticket(self) -> FetchedToken:
        """Fetch a ticket for `find_jsapi_ticket`, which stores it: at most 100 an hour. Source: document/path/90506."""
        return self._read("get_jsapi_ticket", lambda answer: read_token(answer, "ticket"))

    # --- People: sign-in codes and the directory ----------------------------------------------------------------------

    def auth_getuserinfo(self, code: str) -> Identity:
        """Redeem `code`, once and within 5 minutes, and return its person. After CodeRejectedError, start the sign-in
        again. Members outside the visible scope have a userid, too: call `user_get` to check whether they are in it.

        Source: document/path/91023 (page of 2022-09-23); 98177 for the page with the QR code.
        """

        def parse(answer: Answer) -> Identity:
            # Older servers write the names with capitals.
            userid = read_optional_text(answer, "userid") or read_optional_text(answer, "UserId")
            openid = read_optional_text(answer, "openid") or read_optional_text(answer, "OpenId")
            if not userid and not openid:
                raise AnswerError("neither userid nor openid")
            return Identity(userid, openid)

        return self._read("auth/getuserinfo", parse, code=code)

    def user_get(self, userid: str) -> User:
        """Return one member. An application created after 2022-06-20 gets no mobile, e-mail or avatar.

        Source: document/path/90196 (page of 2025-03-06).
        """
        return self._read("user/get", parse_user, userid=userid)

    def user_simplelist(self, department_id: int) -> tuple[User, ...]:
        """Return the direct members of a department: userid, name, departments. Ask for sub-departments one by one.

        Source: document/path/90200.
        """
        return self._read("user/simplelist", parse_users, department_id=department_id)

    def user_list(self, department_id: int) -> tuple[User, ...]:
        """Return the direct members of a department with all fields that the application may see.

        Source: document/path/90201 (page of 2024-07-24).
        """
        return self._read("user/list", parse_users, department_id=department_id)

    def user_list_id(self, cursor: str = "", limit: int = ROWS_A_PAGE) -> MemberPage:
        """Return a page of (userid, department) rows of the company; only for the contacts assistant.

        `limit`: 1 to 10000. An empty `next_cursor` is the end. Source: document/path/96067 (page of 2024-07-23).
        """
        cursor_fields = {"cursor": cursor, "limit": limit} if cursor else {"limit": limit}

        def parse(answer: Answer) -> MemberPage:
            rows = read_objects(answer, "dept_user", required=True)
            members = tuple(MemberRow(read_text(row, "userid"), read_integer(row, "department")) for row in rows)
            return MemberPage(members, read_optional_text(answer, "next_cursor"))

        return parse_answer("user_list_id", parse, self._write("user/list_id", cursor_fields))

    def user_list_id_pages(
        self,
        *,
        limit: int = ROWS_A_PAGE,
        pages_at_most: int = PAGES_AT_MOST,
        make_call: Callable[[Callable[[], MemberPage]], MemberPage] = lambda call: call(),
    ) -> Iterator[MemberPage]:
        """Yield all pages of `user_list_id`, one call each.

        `make_call` makes each call; it may repeat it, count it or wait before it. Raises UnexpectedResponseError if the
        list does not end, because a synchronisation would take the people missing from an incomplete list for deleted.
        """
        seen: set[str] = set()
        cursor = ""
        for _page in range(pages_at_most):
            page = make_call(partial(self.user_list_id, cursor, limit))
            yield page
            cursor = page.next_cursor
            if not cursor:
                return
            if cursor in seen:
                break
            seen.add(cursor)
        message = f"the list did not end within {pages_at_most} pages, or its cursor came again"
        raise UnexpectedResponseError(message, system="wecom", operation="user_list_id")

    def department_list(self, department_id: int | None = None) -> tuple[Department, ...]:
        """Return a department with all below it, or everything visible. `parent_id` may point outside the list.

        Source: document/path/90208.
        """
        params = {} if department_id is None else {"id": department_id}
        return self._read("department/list", parse_departments, **params)

    def department_simplelist(self) -> tuple[Department, ...]:
        """Return all visible departments, faster, without names and leaders. Source: document/path/95350."""
        return self._read("department/simplelist", parse_departments)

    def department_get(self, department_id: int) -> Department:
        """Return one department. Raises RecipientError if it is missing (60003) or not visible to the app (60011).

        Source: document/path/95351.
        """
        return self._read(
            "department/get", lambda answer: parse_department(read_child(answer, "department")), id=department_id
        )

    def tag_get(self, tag_id: int) -> Tag:
        """Return the visible members and departments of a tag. Source: document/path/90213."""

        def parse(answer: Answer) -> Tag:
            members = tuple(
                (read_text(one, "userid"), read_optional_text(one, "name")) for one in read_objects(answer, "userlist")
            )
            return Tag(read_optional_text(answer, "tagname"), members, read_integers(answer, "partylist"))

        return self._read("tag/get", parse, tagid=tag_id)

    # --- Messages. The methods raise OutcomeUnknownError if a message may have been sent ------------------------------

    def message_send(self, body: bytes) -> SendResult:
        """Send exactly the bytes of `body` (see `builders.encode_body`). Partial success is a result, not an error.

        Raises RecipientError with the ids if nobody can receive it. Source: document/path/90236 (page of 2025-09-24).
        """
        return parse_send_result(self._call(Call("message/send", "POST", body=body, is_repeatable=False)))

    def message_update_template_card(self, update: Payload) -> tuple[str, ...]:
        """Change a card (see `builders.build_card_update`); return the userids, in lower case, for whom that failed.

        A response_code works once. Source: document/path/94945 (page of 2025-07-24).
        """
        return read_joined_ids(self._write("message/update_template_card", update, is_repeatable=False), "invaliduser")

    def message_recall(self, msgid: str) -> None:
        """Recall a message, within 24 h; it stays visible in the WeChat plug-in. Source: document/path/94867."""
        self._write("message/recall", {"msgid": msgid})

    def media_upload(
        self, content: bytes, *, kind: MediaKind, file_name: str, media_type: str = "application/octet-stream"
    ) -> str:
        """Upload a file for messages and return its media_id, valid for three days. The recipient sees `file_name`.

        `content`: 6 bytes to 10 MB for an image (JPG, PNG), to 20 MB for a file. Raises MessageError for another size,
        and for a name with line breaks. Source: document/path/90253.
        """
        call = _make_upload("media/upload", content, kind=kind, file_name=file_name, media_type=media_type)
        return parse_answer(call.operation, parse_media_id, self._call(call))

    # --- Group chats. WeCom refuses an application that does not see the root department: 48002, 60011 ----------------

    def appchat_create(self, *, userids: Sequence[str], name: str = "", owner: str = "", chatid: str = "") -> str:
        """Create a group chat and return its chatid. `userids`: 2 to 2000 members; `name`: at most 50 characters;
        `owner`: one of the members, by default WeCom picks one; `chatid`: 1 to 32 letters and digits.

        Without a `chatid` WeCom makes one, and after an unclear failure a chat may exist whose id nobody knows. Raises
        MessageError. Source: document/path/90245.
        """
        if not CHAT_MEMBERS_AT_LEAST <= len(userids) <= CHAT_MEMBERS_AT_MOST:
            raise MessageError("userlist", f"{len(userids)}, {CHAT_MEMBERS_AT_LEAST} to {CHAT_MEMBERS_AT_MOST}")
        _check_chat_name(name)
        if owner and owner.lower() not in {userid.lower() for userid in userids}:  # WeCom compares without case
            raise MessageError("owner", "is not among the members")
        if chatid:
            check_chatid(chatid)
        values = drop_empty_fields({"name": name, "owner": owner, "userlist": list(userids), "chatid": chatid})
        answer = self._write("appchat/create", values, is_repeatable=False)
        return parse_answer("appchat_create", lambda fields: read_text(fields, "chatid"), answer)

    def appchat_update(
        self, chatid: str, *, name: str = "", owner: str = "", add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Change name (at most 50 characters), owner or members of a group chat; an empty value changes nothing.

        Raises MessageError. Source: document/path/90246.
        """
        check_chatid(chatid)
        _check_chat_name(name)
        changes = {"name": name, "owner": owner, "add_user_list": list(add), "del_user_list": list(remove)}
        self._write("appchat/update", {"chatid": chatid, **drop_empty_fields(changes)})

    def appchat_get(self, chatid: str) -> Chat:
        """Return name, owner and members of a group chat. Raises RecipientError (86003) if there is none.

        Source: document/path/90247.
        """
        check_chatid(chatid)

        def parse(answer: Answer) -> Chat:
            chat = read_child(answer, "chat_info")
            name, owner = read_optional_text(chat, "name"), read_optional_text(chat, "owner")
            return Chat(read_text(chat, "chatid"), name, owner, read_texts(chat, "userlist"))

        return self._read("appchat/get", parse, chatid=chatid)

    def appchat_send(self, body: bytes) -> None:
        """Send exactly the bytes of `body` (see `builders.build_chat_message`) into a group chat.

        Raises OutcomeUnknownError if it may have been sent: do not repeat it, because WeCom drops no duplicates.
        Source: document/path/90248.
        """
        self._call(Call("appchat/send", "POST", body=body, is_repeatable=False))


class RobotClient:
    """Client of WeCom for one group robot (消息推送), which has a key and no token. `key`: from its webhook address.

    At most 20 messages a minute. WeCom drops no duplicates: after an unclear outcome do not repeat a message blindly.
    Source: document/path/91770.
    """

    def __init__(self, *, key: str, wire: Wire) -> None:
        self._key, self._wire = key, wire

    def __repr__(self) -> str:
        return "RobotClient()"

    def webhook_send(self, body: bytes) -> SendResult:
        """Send exactly the bytes of `body` (see `build_robot_text`). With a `warning`, WeCom may not show the message.

        Raises OutcomeUnknownError if it may have been sent: do not repeat it. Source: document/path/91770.
        """
        call = Call("webhook/send", "POST", body=body, is_repeatable=False, secrets=(self._key,))
        return parse_send_result(self._wire.send_call(call, {"key": self._key}))

    def webhook_upload_media(
        self, content: bytes, *, file_name: str, media_type: str = "application/octet-stream"
    ) -> str:
        """Upload a file of 6 bytes to 20 MB for this robot and return its media_id, valid for three days.

        Raises MessageError for any other size. Source: document/path/91770.
        """
        call = _make_upload(
            "webhook/upload_media",
            content,
            kind="file",
            file_name=file_name,
            media_type=media_type,
            secrets=(self._key,),
        )
        return parse_answer(call.operation, parse_media_id, self._wire.send_call(call, {"key": self._key}))
