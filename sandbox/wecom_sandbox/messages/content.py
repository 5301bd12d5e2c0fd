"""Checks of messages and template cards: what WeCom refuses, and which texts it cuts."""

from __future__ import annotations

import re
from collections.abc import Callable

from wecom_sandbox.errors import ApiError

Json = dict[str, object]
# Raises ApiError 40007 for a media_id that is unknown, expired or of another kind; returns the file's name.
MediaCheck = Callable[[str, str], str]
# Returns whether a userid belongs to the company.
MemberCheck = Callable[[str], bool]
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S")


def invalid(name: str) -> ApiError:
    """Make the error of a field that has the wrong type or is too long."""
    return ApiError(40058, f"invalid Request Parameter: {name}")


def child(parent: Json, name: str, *, missing: int | None = None) -> Json:
    """Return an object; {} if absent and `missing` is None. Raise ApiError."""
    value = parent.get(name)
    if value is None or value == "":
        if missing is not None:
            raise ApiError(missing)
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{name} should be object")
    return value


def children(parent: Json, name: str, *, least: int, most: int, wrong: int) -> list[Json]:
    """Return a list of objects; [] if absent and `least` is 0. Raise ApiError `wrong` for another length."""
    value = parent.get(name, [])
    if value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(f"{name} should be array of objects")
    if not least <= len(value) <= most:
        raise ApiError(wrong)
    return value


def text(parent: Json, name: str, *, missing: int | None = None, cut: int | None = None) -> str:
    """Return a text; "" if absent and `missing` is None. `cut`: UTF-8 bytes to keep, even within a character."""
    value = parent.get(name)
    if value is None or value == "":
        if missing is not None:
            raise ApiError(missing)
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise invalid(f"{name} should be string")
    if cut is not None and len(value.encode()) > cut:
        return value.encode()[:cut].decode(errors="replace")
    return value


def texts(parent: Json, name: str) -> list[str]:
    """Return a list of texts; [] if absent. Raise ApiError 40058."""
    value = parent.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"{name} should be array of strings")
    return list(value)


def link(parent: Json, name: str, *, missing: int | None = None, most: int = 2048) -> str:
    """Return an address with a scheme, at most `most` bytes. Raise ApiError `missing`, 45034 or 40039."""
    url = text(parent, name, missing=missing)
    if url and not _SCHEME.match(url):
        raise ApiError(45034)
    if len(url.encode()) > most:
        raise ApiError(40039)
    return url


def number(parent: Json, name: str, default: int = 0, *, least: int = 0, most: int = 2**31) -> int:
    """Return a number, not a text of digits: a card's `type` decides what opens. Raise ApiError 40058."""
    value = parent.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise invalid(name)
    return value


def key(parent: Json, name: str, *, missing: int, wrong: int, most: int = 1024) -> str:
    """Return a key of at most `most` bytes. Raise ApiError `missing` or `wrong`."""
    value = text(parent, name, missing=missing)
    if len(value.encode()) > most:
        raise ApiError(wrong)
    return value


def unique(values: list[str], wrong: int) -> None:
    """Raise ApiError `wrong` if a value occurs twice."""
    if len(set(values)) != len(values):
        raise ApiError(wrong)


INTERACTIVE = frozenset({"button_interaction", "vote_interaction", "multiple_interaction"})
CARD_TYPES = INTERACTIVE | {"text_notice", "news_notice"}
_TASK_ID = re.compile(r"[0-9A-Za-z_\-@]{1,128}")


def check_card(card: Json, *, media: MediaCheck, is_member: MemberCheck, is_update: bool = False) -> Json:
    """Return the card unchanged if WeCom would accept it. Raise ApiError. `is_update`: it replaces a card and needs no
    task_id: WeCom's examples have none."""
    kind = text(card, "card_type", missing=42031)
    if kind not in CARD_TYPES:
        raise ApiError(42031)
    for name in ("source", "main_title", "emphasis_content", "button_selection", "card_image", "image_text_area"):
        child(card, name)
    _check_task_id(card, is_needed=not is_update and is_callback_card(card))
    _check_action_menu(card, kind)
    _check_quote(card)
    _check_horizontal(card, media, is_member)
    _check_jumps(card)
    _check_card_action(card, kind)
    _CHECKS[kind](card)
    return card


def is_callback_card(card: Json) -> bool:
    """Return whether sending the card gives a response_code, with which it can be updated."""
    return card.get("card_type") in INTERACTIVE or bool(card.get("action_menu"))


def keys(card: Json) -> set[str]:
    """Return the keys that a click on this card may report: of buttons and of the submit button."""
    found = [item.get("key") for item in _rows(card.get("button_list")) if item.get("type", 0) == 0]
    submit = card.get("submit_button")
    if isinstance(submit, dict):
        found.append(submit.get("key"))
    return {str(key) for key in found if key}


def menu_keys(card: Json) -> set[str]:
    """Return the keys of the menu in the card's upper right corner."""
    menu = card.get("action_menu")
    return {str(item["key"]) for item in _rows(menu.get("action_list"))} if isinstance(menu, dict) else set()


def questions(card: Json) -> dict[str, tuple[set[str], bool]]:
    """Return by question_key its option ids, and whether several may be chosen."""
    found: dict[str, tuple[set[str], bool]] = {}
    for name in ("checkbox", "button_selection"):
        part = card.get(name)
        if isinstance(part, dict):
            found[str(part.get("question_key"))] = (_option_ids(part), name == "checkbox" and part.get("mode") == 1)
    for part in _rows(card.get("select_list")):
        found[str(part.get("question_key"))] = (_option_ids(part), False)
    return found


def _rows(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _option_ids(part: Json) -> set[str]:
    return {str(option.get("id")) for option in _rows(part.get("option_list"))}


def _check_task_id(card: Json, *, is_needed: bool) -> None:
    """Raise ApiError 42014 unless it is a text, even if all digits: 7 and "7" would be two cards with one id."""
    task_id = card.get("task_id") or ""
    if not isinstance(task_id, str) or (is_needed and not task_id) or (task_id and not _TASK_ID.fullmatch(task_id)):
        raise ApiError(42014)


def _check_action_menu(card: Json, kind: str) -> None:
    menu = child(card, "action_menu")
    if not menu:
        return
    if kind in ("vote_interaction", "multiple_interaction"):
        raise invalid("action_menu")
    actions = children(menu, "action_list", least=1, most=3, wrong=40058)
    for action in actions:
        text(action, "text", missing=42038)
    found = [key(action, "key", missing=42019, wrong=42018) for action in actions]
    unique(found, 42051)


def _check_quote(card: Json) -> None:
    _check_jump(child(card, "quote_area"))


def _check_jump(part: Json) -> None:
    """Check a jump. `type`: 0 nothing, 1 url, 2 mini program."""
    kind = number(part, "type", most=2)
    if kind == 1:
        link(part, "url", missing=42028)
    if kind == 2:
        text(part, "appid", missing=42030)


def _check_horizontal(card: Json, media: MediaCheck, is_member: MemberCheck) -> None:
    for row in children(card, "horizontal_content_list", least=0, most=6, wrong=42035):
        text(row, "keyname", missing=42027)
        kind = number(row, "type", most=3)
        if kind == 1:
            link(row, "url", missing=42028)
        elif kind == 2:
            media(text(row, "media_id", missing=42029), "file")
        elif kind == 3 and not is_member(text(row, "userid", missing=42050)):
            raise ApiError(42050)


def _check_jumps(card: Json) -> None:
    for row in children(card, "jump_list", least=0, most=3, wrong=42042):
        text(row, "title", missing=42033)
        _check_jump(row)


def _check_card_action(card: Json, kind: str) -> None:
    action = child(card, "card_action", missing=None if kind in INTERACTIVE else 42045)
    try:
        _check_jump(action)
        chosen = number(action, "type", most=2)
    except ApiError as error:
        raise ApiError(42045) from error
    if kind not in INTERACTIVE and chosen == 0:
        raise ApiError(42045)


def _check_text_notice(card: Json) -> None:
    if not text(child(card, "main_title"), "title") and not text(card, "sub_title_text"):
        raise ApiError(42033)


def _check_main_title(card: Json) -> None:
    text(child(card, "main_title", missing=42033), "title", missing=42033)


def _check_news_notice(card: Json) -> None:
    _check_main_title(card)
    image, area = child(card, "card_image"), child(card, "image_text_area")
    if not area:
        link(image, "url", missing=42044)
    else:
        link(area, "image_url", missing=42028)
        _check_jump(area)
    ratio = image.get("aspect_ratio", 1.3)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1.3 <= ratio <= 2.25:
        raise invalid("aspect_ratio")
    for row in children(card, "vertical_content_list", least=0, most=4, wrong=42036):
        text(row, "title", missing=42033)


def _check_button(card: Json) -> None:
    _check_main_title(card)
    buttons = children(card, "button_list", least=1, most=6, wrong=40058)
    found = []
    for button in buttons:
        text(button, "text", missing=42038)
        number(button, "style", 1, least=1, most=4)
        if number(button, "type", most=1) == 1:
            link(button, "url", missing=42028)
        else:
            found.append(key(button, "key", missing=42039, wrong=42018))
    unique(found, 42018)
    selection = child(card, "button_selection")
    if selection:
        _check_question(selection, most=10)


def _check_vote(card: Json) -> None:
    _check_main_title(card)
    checkbox = child(card, "checkbox", missing=42043)
    number(checkbox, "mode", most=1)
    _check_question(checkbox, most=20)
    _check_submit(card)


def _check_multiple(card: Json) -> None:
    _check_main_title(card)
    lists = children(card, "select_list", least=1, most=3, wrong=42047)
    unique([_check_question(part, most=10) for part in lists], 42043)
    _check_submit(card)


def _check_question(part: Json, *, most: int) -> str:
    question = key(part, "question_key", missing=42043, wrong=42043)
    options = children(part, "option_list", least=1, most=most, wrong=42037)
    for option in options:
        text(option, "text", missing=42041)
    unique([key(option, "id", missing=42040, wrong=42040, most=128) for option in options], 42040)
    return question


def _check_submit(card: Json) -> None:
    submit = child(card, "submit_button", missing=42046)
    key(submit, "key", missing=42046, wrong=42046)
    if submit.get("text") == "":
        raise ApiError(42049)


_CHECKS: dict[str, Callable[[Json], None]] = {
    "text_notice": _check_text_notice,
    "news_notice": _check_news_notice,
    "button_interaction": _check_button,
    "vote_interaction": _check_vote,
    "multiple_interaction": _check_multiple,
}


TEXT_BYTES, MARKDOWN_BYTES = 2048, 2048
_TITLE_BYTES, _DESCRIPTION_BYTES, _AUTHOR_BYTES = 128, 512, 64
_MPNEWS_BYTES = 666 * 1024
_ARTICLES_MOST = 8
_CONFIDENTIAL_FILES = frozenset(
    {"txt", "pdf", "doc", "docx", "ppt", "pptx", "xls", "xlsx", "xml", "jpg", "jpeg", "png", "bmp", "gif"}
)
# Types that allow `safe`: value 1, and for mpnews also 2.
_SAFE_TYPES = frozenset({"text", "image", "video", "file", "mpnews"})


def _text(content: Json, media: MediaCheck) -> Json:
    return {"content": text(content, "content", missing=44004, cut=TEXT_BYTES), **mentions(content)}


def mentions(content: Json) -> Json:
    """Return who is mentioned: userids (or @all) and, for robots, mobile numbers; {} if nobody is."""
    found = {name: texts(content, name) for name in ("mentioned_list", "mentioned_mobile_list")}
    return {name: value for name, value in found.items() if value}


def _media(kind: str) -> Callable[[Json, MediaCheck], Json]:
    def read(content: Json, media: MediaCheck) -> Json:
        media_id = text(content, "media_id", missing=41006)
        return {"media_id": media_id, "filename": media(media_id, kind)}

    return read


def _video(content: Json, media: MediaCheck) -> Json:
    return {
        **_media("video")(content, media),
        "title": text(content, "title", cut=_TITLE_BYTES),
        "description": text(content, "description", cut=_DESCRIPTION_BYTES),
    }


def _textcard(content: Json, media: MediaCheck) -> Json:
    return {
        "title": text(content, "title", missing=41016)[:128],
        "description": text(content, "description", missing=41033)[:512],
        "url": link(content, "url", missing=41010),
        "btntxt": text(content, "btntxt")[:4] or "详情",
    }


def _news(content: Json, media: MediaCheck) -> Json:
    articles = children(content, "articles", least=1, most=_ARTICLES_MOST, wrong=45008)
    return {"articles": [_article(article) for article in articles]}


def _article(article: Json) -> Json:
    appid, pagepath = text(article, "appid"), text(article, "pagepath")
    if bool(appid) != bool(pagepath) or len(pagepath.encode()) > 128:
        raise invalid("appid and pagepath")
    return {
        "title": text(article, "title", missing=41016, cut=_TITLE_BYTES),
        "description": text(article, "description", cut=_DESCRIPTION_BYTES),
        "url": link(article, "url", missing=None if appid else 41010),
        "picurl": link(article, "picurl"),
        "appid": appid,
        "pagepath": pagepath,
    }


def _mpnews(content: Json, media: MediaCheck) -> Json:
    articles = children(content, "articles", least=1, most=_ARTICLES_MOST, wrong=45008)
    return {"articles": [_mp_article(article, media) for article in articles]}


def _mp_article(article: Json, media: MediaCheck) -> Json:
    thumb = text(article, "thumb_media_id", missing=41006)
    media(thumb, "image")
    author = text(article, "author")
    if len(author.encode()) > _AUTHOR_BYTES:
        raise ApiError(45032)
    body = text(article, "content", missing=44004)
    if len(body.encode()) > _MPNEWS_BYTES:
        raise ApiError(45002)
    return {
        "title": text(article, "title", missing=41016, cut=_TITLE_BYTES),
        "thumb_media_id": thumb,
        "author": author,
        "content_source_url": link(article, "content_source_url"),
        "content": body,
        "digest": text(article, "digest", cut=_DESCRIPTION_BYTES),
    }


def _markdown(content: Json, media: MediaCheck) -> Json:
    body = text(content, "content", missing=44004)
    if len(body.encode()) > MARKDOWN_BYTES:
        raise ApiError(45002)
    return {"content": body}


def _miniprogram_notice(content: Json, media: MediaCheck) -> Json:
    title, description = text(content, "title", missing=41016), text(content, "description")
    if not 4 <= len(title) <= 12 or not (not description or 4 <= len(description) <= 12):
        raise invalid("title or description")
    page = text(content, "page")
    if len(page.encode()) > 1024:
        raise ApiError(90204, "invalid page")
    items = children(content, "content_item", least=0, most=10, wrong=90201)
    return {
        "appid": text(content, "appid", missing=42030),
        "page": page,
        "title": title,
        "description": description,
        "emphasis_first_item": bool(content.get("emphasis_first_item")),
        "content_item": [_notice_item(item) for item in items],
    }


def _notice_item(item: Json) -> Json:
    name, value = text(item, "key"), text(item, "value")
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
    """Return the content as it will be shown. Raise ApiError if WeCom refuses it; 40008 for an unknown type."""
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
        raise invalid("safe")
