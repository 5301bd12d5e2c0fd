"""Codes about the form of a request: media, messages, cards, menus, robots."""

from __future__ import annotations

from integrations.clients.errors import BadRequestError, ConfigurationError
from integrations.clients.wecom.errcodes.entry import (
    AUTHOR,
    SITE_ADMIN,
    SUPPORT,
    TO_APP_PAGE,
    TO_CONTENT,
    TO_SUPPORT,
    TO_TRUSTED_DOMAIN,
    WECOM_ADMIN,
    Entry,
)
from integrations.clients.wecom.errcodes.entry import gettext_noop as _

_SETTING = ConfigurationError
_BUG = BadRequestError

_TO_PICTURE = _("Use a JPG or PNG of less than 10 MB.")
_TO_VOICE = _("Use a recording in AMR format of at most 60 seconds and 2 MB.")
_TO_ROBOT = _("The group in WeCom → its message pushes (robot): make a new one and enter its address here.")


def _ours(code: int, what: str) -> Entry:
    return Entry(code, _BUG, what, SUPPORT, TO_SUPPORT)


def _content(code: int, what: str) -> Entry:
    return Entry(code, _BUG, what, AUTHOR, TO_CONTENT)


_MENU = tuple(
    _ours(code, _("WeCom refuses the app's menu: number, name, kind, key or address of an entry."))
    for code in (*range(40016, 40021), *range(40022, 40028))
)

_CARDS = (
    _ours(42012, _("The JS-SDK ticket belongs to another app or is of the wrong kind.")),
    _ours(42014, _("The task id of the card is not valid.")),
    _ours(42015, _("The card was sent by another app.")),
    _ours(42016, _("The task id of the card is not known.")),
    _ours(42017, _("The button of the card does not exist.")),
    _ours(42018, _("The key of a button is not valid.")),
    _ours(42019, _("The key of a button is missing.")),
    _ours(42027, _("A line of the card has no name.")),
    _ours(42028, _("A link of the card has no address.")),
    _ours(42029, _("An attachment of the card has no file.")),
    _ours(42030, _("A mini-program link of the card has no appid.")),
    _ours(42031, _("The card is of a kind that WeCom does not know.")),
    _ours(42033, _("The card has no title.")),
    _ours(42035, _("The card has too many lines of name and value.")),
    _ours(42036, _("The card has too many headings with text.")),
    _ours(42037, _("A list of answers in the card is empty or too long.")),
    _ours(42038, _("A button of the card has no text.")),
    _ours(42039, _("A button of the card has no key.")),
    _ours(42040, _("An answer in the card has no id.")),
    _ours(42041, _("An answer in the card has no text.")),
    _ours(42042, _("The card has too many links at its foot.")),
    _ours(42043, _("A question in the card has no key.")),
    _ours(42044, _("The picture of the card has no address.")),
    _ours(42045, _("The card has no action for a click.")),
    _ours(42046, _("The submit button of the card has no key.")),
    _ours(42047, _("The card has too many questions, or none.")),
    _ours(42049, _("The submit button of the card has no text.")),
    _ours(42050, _("A member named in the card is not valid.")),
    _ours(42051, _("A key is used twice in the card's menu.")),
    *(_ours(code, _("A field of the card is not valid.")) for code in (42032, 42034, 42048)),
)

_MEDIA = (
    _ours(40004, _("This kind of file is not allowed.")),
    _ours(40005, _("The kind of the upload is not valid.")),
    _content(40006, _("The size of the file is not allowed.")),
    Entry(
        40007,
        _BUG,
        _("The uploaded file is unknown, of another kind, or older than three days."),
        AUTHOR,
        _("Send the message again: its files are then uploaded anew."),
    ),
    Entry(40009, _BUG, _("The picture is too large."), AUTHOR, _TO_PICTURE),
    _content(40011, _("The video is too large.")),
    Entry(40123, _BUG, _("The file is not a picture."), AUTHOR, _TO_PICTURE),
    _ours(41006, _("The file was missing from the request.")),
    _ours(44001, _("The uploaded file is empty, or the form of the upload is wrong.")),
    _content(45001, _("The file is too large.")),
    Entry(45007, _BUG, _("The voice recording is longer than 60 seconds."), AUTHOR, _TO_VOICE),
    Entry(301016, _BUG, _("The voice recording is not allowed."), AUTHOR, _TO_VOICE),
    Entry(301017, _BUG, _("The voice recording is not in AMR format."), AUTHOR, _TO_VOICE),
)

_MESSAGES = (
    _ours(40008, _("The kind of the message is not valid.")),
    _ours(40033, _("The request holds characters that WeCom does not allow.")),
    _ours(40035, _("A parameter is not allowed.")),
    _content(40039, _("An address is longer than 1024 bytes.")),
    _ours(40058, _("A parameter is not valid.")),
    _ours(40059, _("The switch for reporting the location is neither 0 nor 1.")),
    _ours(40063, _("A parameter is empty.")),
    _ours(40074, _("A news message cannot be confidential.")),
    _ours(40093, _("The JS-SDK signature is wrong: address, ticket or time.")),
    _content(40094, _("An address is missing or has neither http nor https.")),
    _ours(40206, _("The request is too large.")),
    _ours(41010, _("The address was missing from the request.")),
    _content(41016, _("The title is missing.")),
    _content(41033, _("The description is missing.")),
    _content(44004, _("The text is empty.")),
    _content(45002, _("The message is too long.")),
    _ours(45004, _("The description of the app is too long or too short.")),
    _content(45008, _("The message has more than eight articles.")),
    _ours(45022, _("The name of the app is too long.")),
    _content(45032, _("The name of the author is too long.")),
    _content(45034, _("An address has neither http nor https.")),
    Entry(
        40054,
        _SETTING,
        _("The address of a menu entry is on a domain that is not allowed."),
        WECOM_ADMIN,
        TO_TRUSTED_DOMAIN,
    ),
    Entry(
        40055,
        _SETTING,
        _("The address of a menu entry is on a domain that is not allowed."),
        WECOM_ADMIN,
        TO_TRUSTED_DOMAIN,
    ),
    _ours(91040, _("The kind of ticket is not valid.")),
)

_NOTICES = (
    *(
        _ours(code, _("WeCom refuses the mini-program notice: number, name or value of an item, or its page."))
        for code in (90201, 90202, 90203, 90204, 90205, 90206)
    ),
    Entry(90207, _SETTING, _("The mini-program is not connected to the company's app."), WECOM_ADMIN, TO_APP_PAGE),
    Entry(
        90208,
        _SETTING,
        _("The appid of the mini-program is not the one connected to the app."),
        WECOM_ADMIN,
        TO_APP_PAGE,
    ),
)

_ROBOTS = (
    Entry(
        93000, _SETTING, _("The address of the group robot is wrong, or the robot was removed."), SITE_ADMIN, _TO_ROBOT
    ),
    Entry(93004, _SETTING, _("The group robot is disabled."), WECOM_ADMIN, _TO_ROBOT),
    Entry(93008, _SETTING, _("The group robot is no longer in the group."), SITE_ADMIN, _TO_ROBOT),
)

ENTRIES = (*_MENU, *_CARDS, *_MEDIA, *_MESSAGES, *_NOTICES, *_ROBOTS)
