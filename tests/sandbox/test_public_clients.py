"""Requests as the tests of WxJava and of go-wecom make them, and the answers that they read.

Made anew from the facts in those tests (names and types of fields, spelling of values); no text of theirs stands here.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Api
from tests.sandbox.test_batch import HEAD, upload
from tests.sandbox.test_messages import BUTTON
from tests.sandbox.test_other_calls import AMR, PNG
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

URL = "https://portal.example.com/m"
ATTRIBUTES = [
    {"type": 0, "name": "工位", "text": {"value": "3-12"}},
    {"type": 1, "name": "主页", "web": {"url": URL, "title": "我的主页"}},
]
OUTWARD = {
    "external_corp_name": "北山",
    "external_attr": [*ATTRIBUTES, {"type": 2, "name": "报修", "miniprogram": {"appid": "wx1", "pagepath": "/a"}}],
}
LUCY: dict[str, Any] = {
    "userid": "Lucy",
    "name": "露西",
    "alias": "Lu",
    "mobile": "+86 13000000009",
    "department": [2, 3],
    "order": [10, 40],
    "position": "顾问",
    "gender": "2",
    "email": "lucy@example.com",
    "is_leader_in_dept": [1, 0],
    "enable": 1,
    "telephone": "0755-123",
    "address": "深圳",
    "main_department": 2,
    "extattr": {"attrs": ATTRIBUTES},
    "to_invite": True,
    "external_position": "高级顾问",
    "external_profile": OUTWARD,
}
MEMBER = {"userid": str, "name": str, "department": [int], "order": [int], "position": str, "alias": str} | {
    "is_leader_in_dept": [int],
    "telephone": str,
    "status": int,
    "enable": int,
    "main_department": int,
    "extattr": {"attrs": list},
}
ROW = {"userid": str, "name": str}
# Who, which call, what is sent (None: by GET, with what follows "?"), and what is read of the answer.
APP_CALLS: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = [
    (
        f"agent/get?agentid={AGENTID}",
        None,
        {"agentid": int, "allow_userinfos": dict, "allow_partys": {"partyid": [int]}},
    ),
    (f"agent/get?agentid={AGENTID}", None, {"allow_tags": {"tagid": list}, "close": int, "report_location_flag": int}),
    ("agent/list", None, {"agentlist": [{"agentid": int, "name": str, "square_logo_url": str}]}),
    ("department/list?id=2", None, {"department": [{"id": int, "name": str, "parentid": int, "order": int}]}),
    ("department/simplelist?id=2", None, {"department_id": [{"id": int, "parentid": int, "order": int}]}),
    ("department/get?id=2", None, {"department": {"id": int, "name": str, "department_leader": list}}),
    ("user/get?userid=lilei", None, MEMBER),
    ("user/list?department_id=2&fetch_child=1&status=0", None, {"userlist": [MEMBER]}),
    ("user/simplelist?department_id=2&fetch_child=1&status=0", None, {"userlist": [ROW | {"department": [int]}]}),
    ("user/convert_to_openid", {"userid": "lilei"}, {"openid": str}),
    ("user/getuserid", {"mobile": "13000000001"}, {"userid": str}),
    ("user/get_userid_by_email", {"email": "han@example.com", "email_type": 2}, {"userid": str}),
    ("tag/create", {"tagname": "界面"}, {"tagid": int}),
    ("tag/create", {"tagname": "界面", "tagid": 12}, {"tagid": int}),
    ("tag/list", None, {"taglist": [{"tagid": int, "tagname": str}]}),
    ("tag/get?tagid=1", None, {"tagname": str, "userlist": [ROW], "partylist": [int]}),
    ("batch/invite", {"user": ["lilei", "x"], "party": [2], "tag": [1]}, {"invaliduser": [str], "invalidparty": list}),
    ("get_jsapi_ticket", None, {"ticket": str, "expires_in": int}),
]
CONTACTS_CALLS: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = [
    ("user/create", LUCY, {}),
    ("user/update", {"userid": "jim", "name": "吉姆", "extattr": {"attrs": ATTRIBUTES}}, {}),
    ("user/batchdelete", {"useridlist": ["jim", "hanmeimei"]}, {}),
    ("user/list_id", {"limit": 2}, {"next_cursor": str, "dept_user": [{"userid": str, "department": int}]}),
    ("department/create", {"name": "研发部", "name_en": "RD", "parentid": 1, "order": 1, "id": 7}, {"id": int}),
    ("department/update", {"id": 2, "name": "销售一部", "name_en": "S", "parentid": 1, "order": 1}, {}),
    ("corp/get_join_qrcode?size_type=1", None, {"join_qrcode": str}),
]


def fits(shape: Any, value: Any) -> bool:
    """A type; a list whose items all fit (at least one); an object that has these fields."""
    if isinstance(shape, type):
        return type(value) is shape
    if isinstance(shape, list):
        return isinstance(value, list) and bool(value) and all(fits(shape[0], item) for item in value)
    return isinstance(value, dict) and all(name in value and fits(part, value[name]) for name, part in shape.items())


def call(api: Api, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    name, _, query = path.partition("?")
    pairs = dict(pair.split("=") for pair in query.split("&") if pair)
    return api.get(name, **pairs) if body is None else api.post(name, body, **pairs)


@pytest.mark.parametrize(("path", "body", "shape"), APP_CALLS, ids=[row[0] for row in APP_CALLS])
def test_an_apps_calls(api: Api, path: str, body: dict[str, Any] | None, shape: dict[str, Any]) -> None:
    answer = call(api, path, body)

    assert fits({"errcode": int, "errmsg": str} | shape, answer), answer
    assert answer["errcode"] == 0


@pytest.mark.parametrize(("path", "body", "shape"), CONTACTS_CALLS, ids=[row[0] for row in CONTACTS_CALLS])
def test_the_sync_assistants_calls(
    contacts: Api, path: str, body: dict[str, Any] | None, shape: dict[str, Any]
) -> None:
    answer = call(contacts, path, body)

    assert fits({"errcode": int, "errmsg": str} | shape, answer), answer
    assert answer["errcode"] == 0


def test_a_member_comes_back_as_it_was_sent(contacts: Api, api: Api, sandbox: SandboxHandle) -> None:
    contacts.post("user/create", LUCY)
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"created_after_2022_06_20": False})

    member = api.get("user/get", userid="lucy")

    sent = {name: value for name, value in LUCY.items() if name != "to_invite"}
    assert {name: member[name] for name in sent} == sent
    assert fits(MEMBER | {"avatar": str, "gender": str, "mobile": str, "qr_code": str}, member)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text", {"content": "hello"}),
        ("textcard", {"title": "领奖", "description": '<div class="gray">今天</div>', "url": URL, "btntxt": "更多"}),
        ("image", {"media_id": "IMAGE"}),
        ("voice", {"media_id": "VOICE"}),
        ("news", {"articles": [{"title": "一", "description": "好", "url": URL, "picurl": f"{URL}/p.png"}] * 2}),
        (
            "mpnews",
            {
                "articles": [
                    {"title": "一", "thumb_media_id": "IMAGE", "author": "我", "content": "文", "digest": "要"}
                    | {"content_source_url": URL, "show_cover_pic": "1"}
                ]
            },
        ),
        ("markdown", {"content": "**粗**"}),
    ],
)
def test_wxjavas_messages(api: Api, kind: str, content: dict[str, Any]) -> None:
    """`safe` is a text there, lists of departments and tags have blanks around their bars."""
    media_ids = {
        "IMAGE": media(api, "image", PNG),
        "VOICE": media(api, "voice", AMR),
    }
    body: dict[str, Any] = {
        "touser": "lilei",
        "toparty": "2 | 3",
        "totag": "1 | 9",
        "agentid": AGENTID,
        "msgtype": kind,
        kind: filled(content, media_ids),
        "duplicate_check_interval": 1800,
        "safe": "0",
    }

    answer = api.post("message/send", body)

    shape = {"errcode": int, "errmsg": str, "invaliduser": str, "invalidparty": str, "invalidtag": str, "msgid": str}
    assert fits(shape, answer), answer
    assert (answer["errcode"], answer["invalidtag"]) == (0, "9")


def test_a_card_with_every_kind_of_row(api: Api) -> None:
    rows = [
        {"keyname": "邀请人", "value": "李雷"},
        {"type": 1, "keyname": "官网", "value": "打开", "url": URL},
        {"type": 2, "keyname": "下载", "value": "说明.pdf", "media_id": media(api, "file", b"%PDF-1.7")},
        {"type": 3, "keyname": "同事", "value": "查看", "userid": "lilei"},
    ]
    card = BUTTON | {"horizontal_content_list": rows}

    answer = api.send(msgtype="template_card", template_card=card)

    assert fits({"errcode": int, "msgid": str, "response_code": str}, answer)
    target = {"agentid": AGENTID, "response_code": answer["response_code"], "userids": ["lilei", "ghost"], "atall": 0}
    updated = api.post("message/update_template_card", {**target, "enable_id_trans": 1, "template_card": card})
    assert updated == {"errcode": 0, "errmsg": "ok", "invaliduser": ["ghost"]}


def test_a_job_from_start_to_end(contacts: Api) -> None:
    body = {"media_id": upload(contacts, HEAD + "李雷,lilei,,,,,\n"), "to_invite": True}
    started = contacts.post("batch/syncuser", body)

    shape = {"status": int, "type": str, "total": int, "percentage": int, "result": list}
    assert fits({"jobid": str}, started)
    assert len(started["jobid"]) <= 64
    assert fits(shape, contacts.get("batch/getresult", jobid=started["jobid"]))
    done = contacts.get("batch/getresult", jobid=started["jobid"])
    assert fits(shape | {"result": [{"userid": str, "errcode": int, "errmsg": str}]}, done)


def media(api: Api, kind: str, body: bytes) -> str:
    query = {"access_token": api.token(), "type": kind}
    answer = api.raw("POST", "media/upload", params=query, files={"media": ("a.bin", body)}).json()
    assert fits({"errcode": int, "type": str, "media_id": str, "created_at": str}, answer), answer
    return str(answer["media_id"])


def filled(value: Any, media_ids: dict[str, str]) -> Any:
    """The content with the media_ids of now."""
    if isinstance(value, dict):
        return {name: filled(one, media_ids) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, media_ids) for one in value]
    return media_ids.get(value, value)
