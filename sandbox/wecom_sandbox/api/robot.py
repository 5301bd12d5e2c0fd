"""Group robots (消息推送): a webhook with a key, no token."""

from __future__ import annotations

import base64
import binascii
import hashlib

from wecom_sandbox.api.call import WARNING, Json, Request, open_endpoint, read_body
from wecom_sandbox.api.media import check_for, store
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http.envelope import Reply, success
from wecom_sandbox.http.multipart import Upload, read_media
from wecom_sandbox.limits.limits import MINUTE
from wecom_sandbox.messages import cards, content, fields
from wecom_sandbox.messages.inbox import Message, new_id
from wecom_sandbox.state.world import Company, Robot, World

_TEXT_BYTES, _MARKDOWN_BYTES, _PICTURE_BYTES = 2048, 4096, 2 * 1024 * 1024
_CARDS = ("text_notice", "news_notice")


@open_endpoint(("POST",), "webhook/send")
def webhook_send(world: World, request: Request, now: float) -> Json | Reply:
    company, robot = _robot(world, request)
    limit = world.settings.robot_per_minute
    world.limits.check_special("robot", robot.key, seconds=MINUTE, limit=limit, now=now)
    document, clean = read_body(request.body)
    msgtype = fields.text(document, "msgtype", missing=40008)
    part = fields.child(document, msgtype, missing=40008)
    shown = _read(world, company, msgtype, part)
    kind = "markdown" if msgtype == "markdown_v2" else msgtype
    message = Message(new_id("sim-robot"), company.corpid, None, kind, shown, now, robot=robot.key)
    world.mail.deliver_to_group(message)
    world.changed_for_all(company.corpid)
    return success({}, warning="" if clean else WARNING)


@open_endpoint(("POST",), "webhook/upload_media")
def webhook_upload_media(world: World, request: Request, now: float) -> Json:
    company, _ = _robot(world, request)
    kind = request.query.get("type", "")
    if kind not in ("file", "voice"):
        raise ApiError(40005)
    media = store(world, company.corpid, kind, read_media(request.content_type, request.body))
    return {"type": kind, "media_id": media.media_id, "created_at": str(int(now))}


def _robot(world: World, request: Request) -> tuple[Company, Robot]:
    key = request.query.get("key", "")
    for company in world.companies.values():
        robot = company.robots.get(key)
        if robot is not None:
            if robot.disabled:
                raise ApiError(93004)
            return company, robot
    raise ApiError(93000)


def _read(world: World, company: Company, msgtype: str, part: Json) -> Json:
    media = check_for(world, company.corpid)
    if msgtype == "text":
        return {"content": _limited(part, _TEXT_BYTES, "text.content"), **content.mentions(part)}
    if msgtype in ("markdown", "markdown_v2"):
        return {"content": _limited(part, _MARKDOWN_BYTES, f"{msgtype}.content")}
    if msgtype == "image":
        return _picture(world, company, part)
    if msgtype == "template_card":
        card = cards.check(part, media=media, is_member=company.has_member)
        if card["card_type"] not in _CARDS:
            raise ApiError(42031)
        return card
    if msgtype not in ("news", "file", "voice"):
        raise ApiError(40008)
    return content.read(msgtype, part, safe=0, media=media)


def _limited(part: Json, most: int, name: str) -> str:
    text = fields.text(part, "content", missing=44004)
    if len(text.encode()) > most:
        raise ApiError(40058, f"{name} exceed max length {most}. invalid Request Parameter")
    return text


def _picture(world: World, company: Company, part: Json) -> Json:
    try:
        body = base64.b64decode(fields.text(part, "base64", missing=40063), validate=True)
    except binascii.Error as error:
        raise fields.invalid("base64") from error
    if hashlib.md5(body, usedforsecurity=False).hexdigest() != fields.text(part, "md5", missing=40063):
        raise fields.invalid("md5")
    if len(body) > _PICTURE_BYTES:
        raise ApiError(40009)
    media = store(world, company.corpid, "image", Upload("image", "image/png", body))
    return {"media_id": media.media_id, "filename": media.filename}
