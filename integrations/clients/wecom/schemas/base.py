"""What WeCom answers, as dataclasses. Each `*_from` function reads one answer and raises AnswerError if it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from integrations.clients.wecom.token_refresh import FetchedToken

Answer = Mapping[str, Any]


class AnswerError(ValueError):
    """A field that must be there is missing or of another kind."""


def text(answer: Answer, name: str) -> str:
    """A text that must be there and not be empty."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerError(f"{name} is missing")
    return value


def optional_text(answer: Answer, name: str) -> str:
    """A text that may be missing; WeCom also gives numbers where the documentation says text."""
    value = answer.get(name)
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def integer(answer: Answer, name: str) -> int:
    """A whole number that must be there."""
    value = optional_integer(answer, name)
    if value is None:
        raise AnswerError(f"{name} is not a whole number")
    return value


def optional_integer(answer: Answer, name: str) -> int | None:
    """A whole number, also as text; None where it is missing or something else."""
    value = answer.get(name)
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def texts(answer: Answer, name: str) -> tuple[str, ...]:
    """A list of texts; numbers in it become texts, anything else is left out."""
    value = answer.get(name)
    if not isinstance(value, list):
        return ()
    # Compared by type: excludes bool, and is fast; this runs a hundred thousand times a synchronisation.
    return tuple([str(item) for item in value if type(item) in (str, int)])


def integers(answer: Answer, name: str) -> tuple[int, ...]:
    """A list of whole numbers; anything else in it is left out."""
    value = answer.get(name)
    if not isinstance(value, list):
        return ()
    return tuple([item for item in value if type(item) is int])


def objects(answer: Answer, name: str, *, required: bool = False) -> tuple[Answer, ...]:
    """A list of objects; where it is required it must be a list of nothing else."""
    value = answer.get(name)
    if value is None and not required:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise AnswerError(f"{name} is not a list of objects")
    return tuple(value)


def child(answer: Answer, name: str) -> Answer:
    """An object inside the answer; empty where it is missing."""
    value = answer.get(name)
    return value if isinstance(value, dict) else {}


def joined(answer: Answer, name: str) -> tuple[str, ...]:
    """Ids joined by "|" (message/send) or as a list (update_template_card)."""
    value = answer.get(name)
    if isinstance(value, list):
        return texts(answer, name)
    return tuple(part.strip() for part in optional_text(answer, name).split("|") if part.strip())


def token_from(answer: Answer) -> FetchedToken:
    """gettoken. `expires_in` may count down on a repeated get."""
    return lasting(answer, "access_token")


def lasting(answer: Answer, name: str) -> FetchedToken:
    """A token or ticket and its lifetime in seconds."""
    expires_in = integer(answer, "expires_in")
    if expires_in <= 0:
        raise AnswerError("expires_in is not positive")
    return FetchedToken(text(answer, name), expires_in)


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a message. Ids come back lower-cased: compare without case. Acceptance is not delivery."""

    msgid: str = ""
    response_code: str = ""
    invalid_userids: tuple[str, ...] = ()
    unlicensed_userids: tuple[str, ...] = ()
    invalid_parties: tuple[str, ...] = ()
    invalid_tags: tuple[str, ...] = ()
    warning: str = ""


def send_result_from(answer: Answer) -> SendResult:
    """Never raises: the message has been accepted, whatever the answer looks like."""
    errmsg = optional_text(answer, "errmsg")
    return SendResult(
        msgid=optional_text(answer, "msgid"),
        response_code=optional_text(answer, "response_code"),
        invalid_userids=joined(answer, "invaliduser"),
        unlicensed_userids=joined(answer, "unlicenseduser"),
        invalid_parties=joined(answer, "invalidparty"),
        invalid_tags=joined(answer, "invalidtag"),
        warning=errmsg if "warning" in errmsg.lower() else "",
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """Who came with a code: a member has a userid, anybody else an openid."""

    userid: str = ""
    openid: str = ""
    external_userid: str = ""
    user_ticket: str = ""


def identity_from(answer: Answer) -> Identity:
    """Both spellings: auth/getuserinfo writes `userid`, the older user/getuserinfo `UserId`."""
    identity = Identity(
        userid=optional_text(answer, "userid") or optional_text(answer, "UserId"),
        openid=optional_text(answer, "openid") or optional_text(answer, "OpenId"),
        external_userid=optional_text(answer, "external_userid"),
        user_ticket=optional_text(answer, "user_ticket"),
    )
    if not identity.userid and not identity.openid:
        raise AnswerError("neither userid nor openid")
    return identity


@dataclass(frozen=True, slots=True)
class UserDetail:
    """What a member agreed to show; empty where the member or the administrator did not."""

    userid: str
    gender: str = ""
    avatar: str = ""
    qr_code: str = ""
    mobile: str = ""
    email: str = ""
    biz_mail: str = ""
    address: str = ""


def user_detail_from(answer: Answer) -> UserDetail:
    """auth/getuserdetail."""
    names = ("gender", "avatar", "qr_code", "mobile", "email", "biz_mail", "address")
    return UserDetail(userid_from(answer), **{name: optional_text(answer, name) for name in names})


def userid_from(answer: Answer) -> str:
    """user/getuserid and user/get_userid_by_email."""
    return text(answer, "userid")


@dataclass(frozen=True, slots=True)
class User:
    """One member, as far as the application may see. Empty where WeCom left a field out."""

    userid: str
    name: str = ""
    department_ids: tuple[int, ...] = ()
    main_department_id: int | None = None
    is_leader_in: tuple[bool, ...] = ()
    direct_leaders: tuple[str, ...] = ()
    position: str = ""
    mobile: str = ""
    email: str = ""
    biz_mail: str = ""
    gender: str = ""
    avatar: str = ""
    alias: str = ""
    telephone: str = ""
    status: int | None = None
    is_enabled: bool | None = None
    # The company's own fields (extattr) that are plain text, as far as the application sees them: name and value.
    own_fields: tuple[tuple[str, str], ...] = ()
    # Which of the fields that WeCom keeps from newer applications are not in the answer at all.
    withheld: tuple[str, ...] = field(default=(), compare=False)


RESTRICTED_FIELDS = ("mobile", "email", "biz_mail", "gender", "avatar", "qr_code", "address")


_PLAIN_TEXT = 0


def _own_fields(answer: Answer) -> tuple[tuple[str, str], ...]:
    """Of `extattr` the plain texts (type 0), in the form of today or of old (`value` beside the name); links and mini
    programs are left out."""
    attributes = objects(child(answer, "extattr"), "attrs")
    if not attributes:
        return ()
    texts_only = [one for one in attributes if (optional_integer(one, "type") or 0) == _PLAIN_TEXT]
    return tuple(
        (optional_text(one, "name"), optional_text(child(one, "text"), "value") or optional_text(one, "value"))
        for one in texts_only
    )


def user_from(answer: Answer) -> User:
    """A member of user/get or of user/list."""
    enable = optional_integer(answer, "enable")
    return User(
        userid=text(answer, "userid"),
        name=optional_text(answer, "name"),
        department_ids=integers(answer, "department"),
        main_department_id=optional_integer(answer, "main_department"),
        is_leader_in=tuple([value == 1 for value in integers(answer, "is_leader_in_dept")]),
        direct_leaders=texts(answer, "direct_leader"),
        position=optional_text(answer, "position"),
        mobile=optional_text(answer, "mobile"),
        email=optional_text(answer, "email"),
        biz_mail=optional_text(answer, "biz_mail"),
        gender=optional_text(answer, "gender"),
        avatar=optional_text(answer, "avatar"),
        alias=optional_text(answer, "alias"),
        telephone=optional_text(answer, "telephone"),
        status=optional_integer(answer, "status"),
        is_enabled=None if enable is None else enable == 1,
        own_fields=_own_fields(answer),
        withheld=tuple([name for name in RESTRICTED_FIELDS if name not in answer]),
    )


@dataclass(frozen=True, slots=True)
class Agent:
    """The application as WeCom's console shows it, with its visible scope."""

    agentid: int
    name: str = ""
    description: str = ""
    square_logo_url: str = ""
    allowed_userids: tuple[str, ...] = ()
    allowed_department_ids: tuple[int, ...] = ()
    allowed_tag_ids: tuple[int, ...] = ()
    is_closed: bool = False
    redirect_domain: str = ""
    home_url: str = ""
    reports_location: bool = False
    reports_enter: bool = False


def agent_from(answer: Answer) -> Agent:
    """agent/get. The three `allow_*` objects may be missing."""
    users = objects(child(answer, "allow_userinfos"), "user")
    return Agent(
        agentid=integer(answer, "agentid"),
        name=optional_text(answer, "name"),
        description=optional_text(answer, "description"),
        square_logo_url=optional_text(answer, "square_logo_url"),
        allowed_userids=tuple(text(user, "userid") for user in users),
        allowed_department_ids=integers(child(answer, "allow_partys"), "partyid"),
        allowed_tag_ids=integers(child(answer, "allow_tags"), "tagid"),
        is_closed=optional_integer(answer, "close") == 1,
        redirect_domain=optional_text(answer, "redirect_domain"),
        home_url=optional_text(answer, "home_url"),
        reports_location=optional_integer(answer, "report_location_flag") == 1,
        reports_enter=optional_integer(answer, "isreportenter") == 1,
    )
