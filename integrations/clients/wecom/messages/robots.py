"""Messages of a group robot (now called 消息推送). Pure. Source: developer.work.weixin.qq.com/document/path/91770."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from integrations.clients.wecom.messages.builders import Content, Payload
from integrations.clients.wecom.messages.limits import MessageError, check_bytes

TEXT_BYTES = 2048
MARKDOWN_BYTES = 4096
PICTURE_BYTES = 2 * 1024 * 1024
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_OTHER_KINDS = frozenset({"news", "file"})
_CARD_KINDS = frozenset({"text_notice", "news_notice"})


def robot_text(
    content: str, *, mentioned_userids: Sequence[str] = (), mentioned_mobiles: Sequence[str] = ()
) -> Payload:
    """Plain text of at most 2048 bytes; mentions members, or everybody as `@all`."""
    check_bytes("text.content", content, TEXT_BYTES)
    text: Payload = {"content": content}
    if mentioned_userids:
        text["mentioned_list"] = list(mentioned_userids)
    if mentioned_mobiles:
        text["mentioned_mobile_list"] = list(mentioned_mobiles)
    return {"msgtype": "text", "text": text}


def robot_markdown(content: str) -> Payload:
    """Markdown of at most 4096 bytes; mentions with `<@userid>`."""
    check_bytes("markdown.content", content, MARKDOWN_BYTES)
    return {"msgtype": "markdown", "markdown": {"content": content}}


def robot_image(picture: bytes) -> Payload:
    """A JPG or PNG of at most 2 MB, inside the message."""
    if not picture.startswith(_PICTURE_STARTS):
        raise MessageError("image", "neither JPG nor PNG")
    if len(picture) > PICTURE_BYTES:
        raise MessageError("image", f"{len(picture)} bytes, at most {PICTURE_BYTES}")
    digest = hashlib.md5(picture, usedforsecurity=False).hexdigest()
    return {"msgtype": "image", "image": {"base64": base64.b64encode(picture).decode(), "md5": digest}}


def robot_content(content: Content) -> Payload:
    """News, a file (uploaded with the same robot), a card of type text_notice or news_notice."""
    if content.msgtype == "template_card":
        if content.fields.get("card_type") not in _CARD_KINDS:
            raise MessageError("template_card.card_type", "a robot sends text_notice and news_notice only")
    elif content.msgtype not in _OTHER_KINDS:
        raise MessageError("msgtype", f"{content.msgtype} is not made from a content here")
    return {"msgtype": content.msgtype, content.msgtype: content.fields}
