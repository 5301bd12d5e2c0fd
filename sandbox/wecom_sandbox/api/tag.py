"""Tags: reading, making, and who carries them. Pages 90209 to 90216; numbers of errors: the table 90313 [2]."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, as_int, endpoint, numbers, texts
from wecom_sandbox.api.contacts import sees, sees_department
from wecom_sandbox.errors import ApiError
from wecom_sandbox.state import tags
from wecom_sandbox.state.directory import Tag, fold

_NAME_MOST, _TAGS_MOST, _ID_MOST = 32, 3000, 2**31 - 1
_USERS_MOST, _PARTIES_MOST = 1000, 100


@endpoint("GET", "tag/get", APP, CONTACTS, empty=("userlist", "partylist"))
def tag_get(call: Call) -> Json:
    tag = known_tag(call, call.query.get("tagid", ""))
    found = (call.company.directory.find(userid) for userid in tag.userids)
    members = [member for member in found if member is not None and sees(call, member)]
    return {
        "tagname": tag.tagname,
        "userlist": [{"userid": member.userid, "name": member.name} for member in members],
        "partylist": [number for number in tag.partyids if sees_department(call, number)],
    }


@endpoint("GET", "tag/list", APP, CONTACTS, empty=("taglist",))
def tag_list(call: Call) -> Json:
    return {"taglist": [{"tagid": tag.tagid, "tagname": tag.tagname} for tag in call.company.directory.tags.values()]}


@endpoint("POST", "tag/create", APP, CONTACTS)
def tag_create(call: Call) -> Json:
    """The tag is its maker's: no other app may change it. Without `tagid` it gets the next one."""
    known = call.company.directory.tags
    name = _name(call, None)
    tagid = call.number("tagid", max(known, default=0) + 1)
    if not 0 <= tagid <= _ID_MOST or tagid in known:
        raise ApiError(40068)
    if len(known) >= _TAGS_MOST:
        raise ApiError(40126)
    tag = Tag(tagid, name, agentid=0 if call.app is None else call.app.agentid)
    tags.put(call.world, call.company, tag, tell_contacts=call.app is not None)
    return {"errmsg": "created", "tagid": tagid}


@endpoint("POST", "tag/update", APP, CONTACTS)
def tag_update(call: Call) -> Json:
    tag = _own(call, call.document.get("tagid"))
    tag = replace(tag, tagname=_name(call, tag))
    tags.put(call.world, call.company, tag, tell_contacts=call.app is not None)
    return {"errmsg": "updated"}


@endpoint("GET", "tag/delete", APP, CONTACTS)
def tag_delete(call: Call) -> Json:
    tags.remove(call.world, call.company, _own(call, call.query.get("tagid", "")).tagid)
    return {"errmsg": "deleted"}


@endpoint("POST", "tag/addtagusers", APP, CONTACTS)
def tag_addtagusers(call: Call) -> Json:
    """Those that can be found are added, the others named; 40070 where none can be found."""
    tag = _own(call, call.document.get("tagid"))
    named = _named(call, all_invalid=40070)
    held = {fold(userid) for userid in tag.userids}
    userids = [*tag.userids, *(one for one in named.userids if fold(one) not in held)]
    _change(call, tags.with_people(tag, userids, [*tag.partyids, *named.partyids]))
    return named.invalid


@endpoint("POST", "tag/deltagusers", APP, CONTACTS)
def tag_deltagusers(call: Call) -> Json:
    """The same the other way round; WeCom's page has 40031 where none can be found [1]."""
    tag = _own(call, call.document.get("tagid"))
    named = _named(call, all_invalid=40031)
    gone = {fold(userid) for userid in named.userids}
    userids = [one for one in tag.userids if fold(one) not in gone]
    _change(call, tags.with_people(tag, userids, [one for one in tag.partyids if one not in named.partyids]))
    return {"errmsg": "deleted", **named.invalid}


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a call names: who can be found, spelt as in the directory, and what to answer of the others."""

    userids: list[str]
    partyids: list[int]
    invalid: Json


def _named(call: Call, *, all_invalid: int) -> Named:
    """Raises ApiError `all_invalid` where nobody can be found; 40035 for no list at all, wrong types and too many."""
    users = texts(call.document.get("userlist"), "userlist", most=_USERS_MOST)
    parties = numbers(call.document.get("partylist"), "partylist", most=_PARTIES_MOST)
    if not users and not parties:
        raise ApiError(40035)
    found = {userid: call.company.directory.find(userid) for userid in users}
    userids = [member.userid for member in found.values() if member is not None and sees(call, member)]
    bad_users = [userid for userid, member in found.items() if member is None or not sees(call, member)]
    bad_parties = [number for number in parties if not sees_department(call, number)]
    invalid: Json = {"invalidlist": "|".join(bad_users)} if bad_users else {}
    invalid |= {"invalidparty": bad_parties} if bad_parties else {}
    partyids = [number for number in parties if number not in bad_parties]
    if not userids and not partyids:
        raise ApiError(all_invalid, "all list invalid", fields=invalid)
    return Named(userids, partyids, invalid)


def _change(call: Call, tag: Tag) -> None:
    tags.put(call.world, call.company, tag, tell_contacts=call.app is not None)


def known_tag(call: Call, tagid: object) -> Tag:
    """Raises ApiError 40068."""
    try:
        return call.company.directory.tags[as_int(tagid, "tagid")]
    except (ApiError, KeyError) as error:
        raise ApiError(40068) from error


def _own(call: Call, tagid: object) -> Tag:
    """A tag that the caller may change: an app its own, the sync assistant its own and the console's.

    Raises ApiError 41017, 40068 or 81011.
    """
    if tagid is None or tagid == "":
        raise ApiError(41017)
    tag = known_tag(call, tagid)
    if tag.agentid != (0 if call.app is None else call.app.agentid):
        raise ApiError(81011)
    return tag


def _name(call: Call, own: Tag | None) -> str:
    """Raises ApiError 41018, 40072 or 40071."""
    name = call.text("tagname", missing=41018)
    if len(name) > _NAME_MOST:
        raise ApiError(40072)
    if any(tag.tagname == name and tag is not own for tag in call.company.directory.tags.values()):
        raise ApiError(40071)
    return name
