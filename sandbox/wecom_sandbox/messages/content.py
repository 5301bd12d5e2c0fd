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


def make_invalid_error(name: str) -> ApiError:
    """Make the error of a field that has the wrong type or is too long."""
    return ApiError(40058, f"invalid Request Parameter: {name}")


def read_object(parent: Json, name: str, *, missing: int | None = None) -> Json:
    """Return an object; {} if absent and `missing` is None. Raise ApiError."""
    value = parent.get(name)
    if value is None or value == "":
        if missing is not None:
            raise ApiError(missing)
        return {}
    if not isinstance(value, dict):
        raise make_invalid_error(f"{name} should be object")
    return value


def read_objects(parent: Json, name: str, *, least: int, most: int, errcode: int) -> list[Json]:
    """Return a list of objects; [] if absent and `least` is 0. Raise ApiError `errcode` for another length."""
    value = parent.get(name, [])
    if value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise make_invalid_error(f"{name} should be array of objects")
    if not least <= len(value) <= most:
        raise ApiError(errcode)
    return value


def read_text(parent: Json, name: str, *, missing: int | None = None, cut: int | None = None) -> str:
    """Return a text; "" if absent and `missing` is None. `cut`: UTF-8 bytes to keep, even within a character."""
    value = parent.get(name)
    if value is None or value == "":
        if missing is not None:
            raise ApiError(missing)
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise make_invalid_error(f"{name} should be string")
    if cut is not None and len(value.encode()) > cut:
        return value.encode()[:cut].decode(errors="replace")
    return value


def read_texts(parent: Json, name: str) -> list[str]:
    """Return a list of texts; [] if absent. Raise ApiError 40058."""
    value = parent.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise make_invalid_error(f"{name} should be array of strings")
    return list(value)


def read_link(parent: Json, name: str, *, missing: int | None = None, most: int = 2048) -> str:
    """Return an address with a scheme, at most `most` bytes. Raise ApiError `missing`, 45034 or 40039."""
    url = read_text(parent, name, missing=missing)
    if url and not _SCHEME.match(url):
        raise ApiError(45034)
    if len(url.encode()) > most:
        raise ApiError(40039)
    return url


def read_number(parent: Json, name: str, default: int = 0, *, least: int = 0, most: int = 2**31) -> int:
    """Return a number. Raise ApiError 40058 for anything else, also for a text of digits."""
    value = parent.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise make_invalid_error(name)
    return value


def read_key(parent: Json, name: str, *, missing: int, errcode: int, most: int = 1024) -> str:
    """Return a key of at most `most` bytes. Raise ApiError `missing` or `errcode`."""
    value = read_text(parent, name, missing=missing)
    if len(value.encode()) > most:
        raise ApiError(errcode)
    return value


def check_unique(values: list[str], errcode: int) -> None:
    """Raise ApiError `errcode` if a value occurs twice."""
    if len(set(values)) != len(values):
        raise ApiError(errcode)


INTERACTIVE = frozenset({"button_interaction", "vote_interaction", "multiple_interaction"})
CARD_TYPES = INTERACTIVE | {"text_notice", "news_notice"}
_TASK_ID = re.compile(r"[0-9A-Za-z_\-@]{1,128}")


def check_card(card: Json, *, media: MediaCheck, is_member: MemberCheck, is_update: bool = False) -> Json:
    """Return the card unchanged if WeCom would accept it. Raise ApiError. `is_update`: it replaces a card and needs no
    task_id: WeCom's examples have none."""
    kind = read_text(card, "card_type", missing=42031)
    if kind not in CARD_TYPES:
        raise ApiError(42031)
    for name in ("source", "main_title", "emphasis_content", "button_selection", "card_image", "image_text_area"):
        read_object(card, name)
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


def list_button_keys(card: Json) -> set[str]:
    """Return the keys that a click on this card may report: of buttons and of the submit button."""
    found = [item.get("key") for item in _list_objects(card.get("button_list")) if item.get("type", 0) == 0]
    submit = card.get("submit_button")
    if isinstance(submit, dict):
        found.append(submit.get("key"))
    return {str(key) for key in found if key}


def list_menu_keys(card: Json) -> set[str]:
    """Return the keys of the menu in the card's upper right corner."""
    menu = card.get("action_menu")
    return {str(item["key"]) for item in _list_objects(menu.get("action_list"))} if isinstance(menu, dict) else set()


def list_questions(card: Json) -> dict[str, tuple[set[str], bool]]:
    """Map each question_key to its option ids and whether several may be chosen."""
    found: dict[str, tuple[set[str], bool]] = {}
    for name in ("checkbox", "button_selection"):
        part = card.get(name)
        if isinstance(part, dict):
            found[str(part.get("question_key"))] = (_read_ids(part), name == "checkbox" and part.get("mode") == 1)
    for part in _list_objects(card.get("select_list")):
        found[str(part.get("question_key"))] = (_read_ids(part), False)
    return found


def _list_objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _read_ids(part: Json) -> set[str]:
    return {str(option.get("id")) for option in _list_objects(part.get("option_list"))}


def _check_task_id(card: Json, *, is_needed: bool) -> None:
    """Raise ApiError 42014 unless the task_id is a valid text. A number is refused: 7 and "7" would be one id."""
    task_id = card.get("task_id") or ""
    if not isinstance(task_id, str) or (is_needed and not task_id) or (task_id and not _TASK_ID.fullmatch(task_id)):
        raise ApiError(42014)


def _check_action_menu(card: Json, kind: str) -> None:
    menu = read_object(card, "action_menu")
    if not menu:
        return
    if kind in ("vote_interaction", "multiple_interaction"):
        raise make_invalid_error("action_menu")
    actions = read_objects(menu, "action_list", least=1, most=3, errcode=40058)
    for action in actions:
        read_text(action, "text", missing=42038)
    found = [read_key(action, "key", missing=42019, errcode=42018) for action in actions]
    check_unique(found, 42051)


def _check_quote(card: Json) -> None:
    _check_jump(read_object(card, "quote_area"))


def _check_jump(part: Json) -> None:
    """Check a jump. `type`: 0 nothing, 1 url, 2 mini program."""
    kind = read_number(part, "type", most=2)
    if kind == 1:
        read_link(part, "url", missing=42028)
    if kind == 2:
        read_text(part, "appid", missing=42030)


def _check_horizontal(card: Json, media: MediaCheck, is_member: MemberCheck) -> None:
    for row in read_objects(card, "horizontal_content_list", least=0, most=6, errcode=42035):
        read_text(row, "keyname", missing=42027)
        kind = read_number(row, "type", most=3)
        if kind == 1:
            read_link(row, "url", missing=42028)
        elif kind == 2:
            media(read_text(row, "media_id", missing=42029), "file")
        elif kind == 3 and not is_member(read_text(row, "userid", missing=42050)):
            raise ApiError(42050)


def _check_jumps(card: Json) -> None:
    for row in read_objects(card, "jump_list", least=0, most=3, errcode=42042):
        read_text(row, "title", missing=42033)
        _check_jump(row)


def _check_card_action(card: Json, kind: str) -> None:
    action = read_object(card, "card_action", missing=None if kind in INTERACTIVE else 42045)
    try:
        _check_jump(action)
        chosen = read_number(action, "type", most=2)
    except ApiError as error:
        raise ApiError(42045) from error
    if kind not in INTERACTIVE and chosen == 0:
        raise ApiError(42045)


def _check_text_notice(card: Json) -> None:
    if not read_text(read_object(card, "main_title"), "title") and not read_text(card, "sub_title_text"):
        raise ApiError(42033)


def _check_main_title(card: Json) -> None:
    read_text(read_object(card, "main_title", missing=42033), "title", missing=42033)


def _check_news_notice(card: Json) -> None:
    _check_main_title(card)
    image, area = read_object(card, "card_image"), read_object(card, "image_text_area")
    if not area:
        read_link(image, "url", missing=42044)
    else:
        read_link(area, "image_url", missing=42028)
        _check_jump(area)
    ratio = image.get("aspect_ratio", 1.3)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1.3 <= ratio <= 2.25:
        raise make_invalid_error("aspect_ratio")
    for row in read_objects(card, "vertical_content_list", least=0, most=4, errcode=42036):
        read_text(row, "title", missing=42033)


def _check_button(card: Json) -> None:
    _check_main_title(card)
    buttons = read_objects(card, "button_list", least=1, most=6, errcode=40058)
    found = []
    for button in buttons:
        read_text(button, "text", missing=42038)
        read_number(button, "style", 1, least=1, most=4)
        if read_number(button, "type", most=1) == 1:
            read_link(button, "url", missing=42028)
        else:
            found.append(read_key(button, "key", missing=42039, errcode=42018))
    check_unique(found, 42018)
    selection = read_object(card, "button_selection")
    if selection:
        _check_question(selection, most=10)


def _check_vote(card: Json) -> None:
    _check_main_title(card)
    checkbox = read_object(card, "checkbox", missing=42043)
    read_number(checkbox, "mode", most=1)
    _check_question(checkbox, most=20)
    _check_submit(card)


def _check_multiple(card: Json) -> None:
    _check_main_title(card)
    lists = read_objects(card, "select_list", least=1, most=3, errcode=42047)
    check_unique([_check_question(part, most=10) for part in lists], 42043)
    _check_submit(card)


def _check_question(part: Json, *, most: int) -> str:
    question = read_key(part, "question_key", missing=42043, errcode=42043)
    options = read_objects(part, "option_list", least=1, most=most, errcode=42037)
    for option in options:
        read_text(option, "text", missing=42041)
    check_unique([read_key(option, "id", missing=42040, errcode=42040, most=128) for option in options], 42040)
    return question


def _check_submit(card: Json) -> None:
    submit = read_object(card, "submit_button", missing=42046)
    read_key(submit, "key", missing=42046, errcode=42046)
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
_SAFE_EXTENSIONS = frozenset(
    {"txt", "pdf", "doc", "docx", "ppt", "pptx", "xls", "xlsx", "xml", "jpg", "jpeg", "png", "bmp", "gif"}
)
# Types that allow `safe`: value 1, and for mpnews also 2.
_SAFE_TYPES = frozenset({"text", "image", "video", "file", "mpnews"})


def _read_text_message(content: Json, media: MediaCheck) -> Json:
    return {"content": read_text(content, "content", missing=44004, cut=TEXT_BYTES), **read_mentions(content)}


def read_mentions(content: Json) -> Json:
    """Return who is mentioned: userids (or @all) and, for robots, mobile numbers; {} if nobody is."""
    found = {name: read_texts(content, name) for name in ("mentioned_list", "mentioned_mobile_list")}
    return {name: value for name, value in found.items() if value}


def _make_media_reader(kind: str) -> Callable[[Json, MediaCheck], Json]:
    def read(content: Json, media: MediaCheck) -> Json:
        media_id = read_text(content, "media_id", missing=41006)
        return {"media_id": media_id, "filename": media(media_id, kind)}

    return read


def _read_video(content: Json, media: MediaCheck) -> Json:
    return {
        **_make_media_reader("video")(content, media),
        "title": read_text(content, "title", cut=_TITLE_BYTES),
        "description": read_text(content, "description", cut=_DESCRIPTION_BYTES),
    }


def _read_textcard(content: Json, media: MediaCheck) -> Json:
    return {
        "title": read_text(content, "title", missing=41016)[:128],  # characters, not bytes
        "description": read_text(content, "description", missing=41033)[:512],
        "url": read_link(content, "url", missing=41010),
        "btntxt": read_text(content, "btntxt")[:4] or "详情",
    }


def _read_news(content: Json, media: MediaCheck) -> Json:
    articles = read_objects(content, "articles", least=1, most=_ARTICLES_MOST, errcode=45008)
    return {"articles": [_read_article(article) for article in articles]}


def _read_article(article: Json) -> Json:
    appid, pagepath = read_text(article, "appid"), read_text(article, "pagepath")
    if bool(appid) != bool(pagepath) or len(pagepath.encode()) > 128:
        raise make_invalid_error("appid and pagepath")
    return {
        "title": read_text(article, "title", missing=41016, cut=_TITLE_BYTES),
        "description": read_text(article, "description", cut=_DESCRIPTION_BYTES),
        "url": read_link(article, "url", missing=None if appid else 41010),
        "picurl": read_link(article, "picurl"),
        "appid": appid,
        "pagepath": pagepath,
    }


def _read_mpnews(content: Json, media: MediaCheck) -> Json:
    articles = read_objects(content, "articles", least=1, most=_ARTICLES_MOST, errcode=45008)
    return {"articles": [_read_mp_article(article, media) for article in articles]}


def _read_mp_article(article: Json, media: MediaCheck) -> Json:
    thumb = read_text(article, "thumb_media_id", missing=41006)
    media(thumb, "image")
    author = read_text(article, "author")
    if len(author.encode()) > _AUTHOR_BYTES:
        raise ApiError(45032)
    body = read_text(article, "content", missing=44004)
    if len(body.encode()) > _MPNEWS_BYTES:
        raise ApiError(45002)
    return {
        "title": read_text(article, "title", missing=41016, cut=_TITLE_BYTES),
        "thumb_media_id": thumb,
        "author": author,
        "content_source_url": read_link(article, "content_source_url"),
        "content": body,
        "digest": read_text(article, "digest", cut=_DESCRIPTION_BYTES),
    }


def _read_markdown(content: Json, media: MediaCheck) -> Json:
    body = read_text(content, "content", missing=44004)
    if len(body.encode()) > MARKDOWN_BYTES:
        raise ApiError(45002)
    return {"content": body}


def _read_miniprogram_notice(content: Json, media: MediaCheck) -> Json:
    title, description = read_text(content, "title", missing=41016), read_text(content, "description")
    if not 4 <= len(title) <= 12 or not (not description or 4 <= len(description) <= 12):
        raise make_invalid_error("title or description")
    page = read_text(content, "page")
    if len(page.encode()) > 1024:
        raise ApiError(90204, "invalid page")
    items = read_objects(content, "content_item", least=0, most=10, errcode=90201)
    return {
        "appid": read_text(content, "appid", missing=42030),
        "page": page,
        "title": title,
        "description": description,
        "emphasis_first_item": bool(content.get("emphasis_first_item")),
        "content_item": [_read_notice_item(item) for item in items],
    }


def _read_notice_item(item: Json) -> Json:
    name, value = read_text(item, "key"), read_text(item, "value")
    if not 1 <= len(name) <= 10:
        raise ApiError(90202, "invalid content_item key")
    if not 1 <= len(value) <= 30:
        raise ApiError(90203, "invalid content_item value")
    return {"key": name, "value": value}


_READERS: dict[str, Callable[[Json, MediaCheck], Json]] = {
    "text": _read_text_message,
    "image": _make_media_reader("image"),
    "voice": _make_media_reader("voice"),
    "video": _read_video,
    "file": _make_media_reader("file"),
    "textcard": _read_textcard,
    "news": _read_news,
    "mpnews": _read_mpnews,
    "markdown": _read_markdown,
    "miniprogram_notice": _read_miniprogram_notice,
}
TYPES = frozenset(_READERS)


def read_content(msgtype: str, content: Json, *, safe: int, media: MediaCheck) -> Json:
    """Return the content as it will be shown. Raise ApiError if WeCom refuses it; 40008 for an unknown type."""
    reader = _READERS.get(msgtype)
    if reader is None:
        raise ApiError(40008)
    _check_safe(msgtype, safe)
    shown_content = reader(content, media)
    if msgtype == "file" and safe and str(shown_content["filename"]).rpartition(".")[2].lower() not in _SAFE_EXTENSIONS:
        raise ApiError(40004)
    return shown_content


def _check_safe(msgtype: str, safe: int) -> None:
    if msgtype == "news" and safe:
        raise ApiError(40074)
    if safe not in (0, 1, 2) or (safe and msgtype not in _SAFE_TYPES) or (safe == 2 and msgtype != "mpnews"):
        raise make_invalid_error("safe")
