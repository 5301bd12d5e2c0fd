"""The message types of message/send and appchat/send, apart from template cards: what is refused, what is cut."""

from __future__ import annotations

from collections.abc import Callable

from wecom_sandbox.errors import ApiError
from wecom_sandbox.messages import fields
from wecom_sandbox.messages.fields import Json, MediaCheck

TEXT_BYTES, MARKDOWN_BYTES = 2048, 2048
_TITLE_BYTES, _DESCRIPTION_BYTES, _AUTHOR_BYTES = 128, 512, 64
_MPNEWS_BYTES = 666 * 1024
_ARTICLES_MOST = 8
_CONFIDENTIAL_FILES = frozenset(
    {"txt", "pdf", "doc", "docx", "ppt", "pptx", "xls", "xlsx", "xml", "jpg", "jpeg", "png", "bmp", "gif"}
)
# Types with which `safe` may be used: value 1, and for mpnews 2 as well.
_SAFE_TYPES = frozenset({"text", "image", "video", "file", "mpnews"})


def _text(content: Json, media: MediaCheck) -> Json:
    return {"content": fields.text(content, "content", missing=44004, cut=TEXT_BYTES), **mentions(content)}


def mentions(content: Json) -> Json:
    """Who is told apart in a group: userids (or @all) and, for robots, mobile numbers; nothing where nobody is."""
    found = {name: fields.texts(content, name) for name in ("mentioned_list", "mentioned_mobile_list")}
    return {name: value for name, value in found.items() if value}


def _media(kind: str) -> Callable[[Json, MediaCheck], Json]:
    def read(content: Json, media: MediaCheck) -> Json:
        media_id = fields.text(content, "media_id", missing=41006)
        return {"media_id": media_id, "filename": media(media_id, kind)}

    return read


def _video(content: Json, media: MediaCheck) -> Json:
    return {
        **_media("video")(content, media),
        "title": fields.text(content, "title", cut=_TITLE_BYTES),
        "description": fields.text(content, "description", cut=_DESCRIPTION_BYTES),
    }


def _textcard(content: Json, media: MediaCheck) -> Json:
    return {
        "title": fields.text(content, "title", missing=41016)[:128],
        "description": fields.text(content, "description", missing=41033)[:512],
        "url": fields.link(content, "url", missing=41010),
        "btntxt": fields.text(content, "btntxt")[:4] or "详情",
    }


def _news(content: Json, media: MediaCheck) -> Json:
    articles = fields.children(content, "articles", least=1, most=_ARTICLES_MOST, wrong=45008)
    return {"articles": [_article(article) for article in articles]}


def _article(article: Json) -> Json:
    appid, pagepath = fields.text(article, "appid"), fields.text(article, "pagepath")
    if bool(appid) != bool(pagepath) or len(pagepath.encode()) > 128:
        raise fields.invalid("appid and pagepath")
    return {
        "title": fields.text(article, "title", missing=41016, cut=_TITLE_BYTES),
        "description": fields.text(article, "description", cut=_DESCRIPTION_BYTES),
        "url": fields.link(article, "url", missing=None if appid else 41010),
        "picurl": fields.link(article, "picurl"),
        "appid": appid,
        "pagepath": pagepath,
    }


def _mpnews(content: Json, media: MediaCheck) -> Json:
    articles = fields.children(content, "articles", least=1, most=_ARTICLES_MOST, wrong=45008)
    return {"articles": [_mp_article(article, media) for article in articles]}


def _mp_article(article: Json, media: MediaCheck) -> Json:
    thumb = fields.text(article, "thumb_media_id", missing=41006)
    media(thumb, "image")
    author = fields.text(article, "author")
    if len(author.encode()) > _AUTHOR_BYTES:
        raise ApiError(45032)
    body = fields.text(article, "content", missing=44004)
    if len(body.encode()) > _MPNEWS_BYTES:
        raise ApiError(45002)
    return {
        "title": fields.text(article, "title", missing=41016, cut=_TITLE_BYTES),
        "thumb_media_id": thumb,
        "author": author,
        "content_source_url": fields.link(article, "content_source_url"),
        "content": body,
        "digest": fields.text(article, "digest", cut=_DESCRIPTION_BYTES),
    }


def _markdown(content: Json, media: MediaCheck) -> Json:
    body = fields.text(content, "content", missing=44004)
    if len(body.encode()) > MARKDOWN_BYTES:
        raise ApiError(45002)
    return {"content": body}


def _miniprogram_notice(content: Json, media: MediaCheck) -> Json:
    title, description = fields.text(content, "title", missing=41016), fields.text(content, "description")
    if not 4 <= len(title) <= 12 or not (not description or 4 <= len(description) <= 12):
        raise fields.invalid("title or description")
    page = fields.text(content, "page")
    if len(page.encode()) > 1024:
        raise ApiError(90204, "invalid page")
    items = fields.children(content, "content_item", least=0, most=10, wrong=90201)
    return {
        "appid": fields.text(content, "appid", missing=42030),
        "page": page,
        "title": title,
        "description": description,
        "emphasis_first_item": bool(content.get("emphasis_first_item")),
        "content_item": [_notice_item(item) for item in items],
    }


def _notice_item(item: Json) -> Json:
    name, value = fields.text(item, "key"), fields.text(item, "value")
    if not 1 <= len(name) <= 10:
        raise ApiError(90202, "invalid content_item key")
    if not 1 <= len(value) <= 30:
        raise ApiError(90203, "invalid content_item value")
    return {"key": name, "value": value}


_READERS: dict[str, Callable[[Json, MediaCheck], Json]] = {
    "text": _text,
    "image": _media("image"),
    "voice": _media("voice"),
    "video": _video,
    "file": _media("file"),
    "textcard": _textcard,
    "news": _news,
    "mpnews": _mpnews,
    "markdown": _markdown,
    "miniprogram_notice": _miniprogram_notice,
}
TYPES = frozenset(_READERS)


def read(msgtype: str, content: Json, *, safe: int, media: MediaCheck) -> Json:
    """The content as it will be shown. Raises ApiError for what WeCom refuses; 40008 for an unknown type."""
    reader = _READERS.get(msgtype)
    if reader is None:
        raise ApiError(40008)
    _check_safe(msgtype, safe)
    shown = reader(content, media)
    if msgtype == "file" and safe and str(shown["filename"]).rpartition(".")[2].lower() not in _CONFIDENTIAL_FILES:
        raise ApiError(40004)
    return shown


def _check_safe(msgtype: str, safe: int) -> None:
    if msgtype == "news" and safe:
        raise ApiError(40074)
    if safe not in (0, 1, 2) or (safe and msgtype not in _SAFE_TYPES) or (safe == 2 and msgtype != "mpnews"):
        raise fields.invalid("safe")
