"""WeCom's error codes, with the class of error for the caller and the explanation for an administrator.

Source: the official table "全局错误码" (developer.work.weixin.qq.com/document/path/90313, crawl of 2024-04-08), and
answers seen in public traces. Match on the number, never on the text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from integrations.clients.errors import (
    UNREADABLE_SECRET,
    BadRequestError,
    CodeRejectedError,
    ConfigurationError,
    Explanation,
    IntegrationError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
)


def gettext_noop(text: str) -> str:
    """Mark `text` for the catalogues. The caller translates it, because this package does not import Django."""
    return text


_ = gettext_noop


@dataclass(frozen=True, slots=True)
class Entry:
    """The class of error for the caller and the explanation for an administrator, in English."""

    error: type[IntegrationError]
    explanation: Explanation


SITE_ADMIN = _("The administrator of this site.")
WECOM_ADMIN = _("The administrator of WeCom.")
NETWORK_ADMIN = _("The administrator of this server's network.")
AUTHOR = _("The author of the push or alert rule.")
NOBODY = _("Nobody: it passes by itself.")
PERSON = _("The person who signs in.")
SUPPORT = _("The support of this product: this is a mistake of the program.")

TO_SUPPORT = _("Send the code and the hint of this error to support.")
TO_CORP_PAGE = _(
    "System integration → WeCom configuration → the company: correct the field, save, and test the connection."
)
TO_APP_PAGE = _("WeCom's console → App management → the app.")
TO_SCOPE = _("WeCom's console → App management → the app → Visible scope.")
TO_TRUSTED_DOMAIN = _("WeCom's console → App management → the app → Web authorisation and JS-SDK.")
TO_TRUSTED_IP = _("WeCom's console → App management → the app → Trusted company IP.")
TO_PERMISSIONS = _("WeCom's console → App management → the app → API permissions.")
TO_RECIPIENTS = _("Open the push or alert rule and correct its recipients.")
TO_CONTENT = _("Open the push or alert rule and change its content.")
TO_DIRECTORY = _("Start a directory synchronisation; the details are kept with its run.")
TO_SIGN_IN = _("Open the app from WeCom's workbench again, or scan the QR code again.")
TO_WAIT = _("Nothing to be done: it is tried again later. If it lasts for hours, ask WeCom's support.")

_TO_PICTURE = _("Use a JPG or PNG of less than 10 MB.")
_TO_ROBOT = _("The group in WeCom → its message pushes (robot): make a new one and enter its address here.")
_TO_SECRET = _(
    "WeCom's console → App management → the app → Secret; copy it to System integration → WeCom configuration → "
    "the company."
)
_TO_LICENCE = _("WeCom's console → App management → the app → Interface licence.")
_TO_ACCOUNT = _(
    "People → the person → WeCom account: compare it with WeCom's console → Contacts → the member → Account."
)
# Stands for “where to click” in the key of a group whose codes have different places: each is in _PLACES.
_OWN_PLACE = ""

# Maps error class, who can fix it and where to click to codes, each with what happened.
_GROUPS: dict[tuple[type[IntegrationError], str, str], dict[int, str]] = {
    (TransientError, NOBODY, TO_WAIT): {
        -1: _("WeCom is busy."),
        6000: _("Somebody else changed the same data at the same time."),
        40014: _("WeCom refuses the access token, also a fresh one."),
        42001: _("The access token has expired, also a fresh one."),
    },
    (TransientError, NOBODY, _OWN_PLACE): {50100: _("WeCom lost the place in a long list.")},
    (RateLimitedError, NOBODY, _OWN_PLACE): {
        45009: _("Too many calls: WeCom's frequency limit is reached."),
        45033: _("Too many calls at the same time."),
    },
    (ConfigurationError, SITE_ADMIN, _OWN_PLACE): {
        40001: _(
            "WeCom refuses the Secret: it is wrong, was reset, belongs to another company, or the app is disabled."
        ),
        40056: _("The AgentId is wrong."),
        40057: _("WeCom could not verify the callback address."),
        40091: _("The Secret is not valid; it may belong to another company."),
        48002: _("This kind of Secret may not use this interface."),
        48009: _("The directory-sync Secret may not read details from this address (rule of August 2022)."),
        301002: _("The Secret belongs to another app than the AgentId."),
    },
    (ConfigurationError, SITE_ADMIN, TO_CORP_PAGE): {
        **dict.fromkeys((40013, 2000002), _("The CorpId does not exist.")),
        41002: _("The CorpId is empty."),
        41004: _("The Secret is empty."),
    },
    (ConfigurationError, WECOM_ADMIN, _OWN_PLACE): {
        43012: _("WeCom asks for a callback address before this can be used."),
        45031: _("WeCom considers the Secret unsafe."),
        48006: _("WeCom has suspended the app, because nobody used it for a long time."),
        50003: _("The app is disabled."),
        85004: _("The trusted domain was changed more than 20 times this month."),
        85005: _("The ownership of the trusted domain is not verified."),
        701008: _("The app has no interface licence for this person."),
        701099: _("The interface licences of the app are used up."),
    },
    (ConfigurationError, WECOM_ADMIN, TO_PERMISSIONS): {
        48001: _("The app has no permission for this interface."),
        48004: _("The permission of the app was withdrawn."),
    },
    (ConfigurationError, SITE_ADMIN, TO_SUPPORT): {48005: _("WeCom has retired this interface.")},
    (ConfigurationError, WECOM_ADMIN, TO_TRUSTED_DOMAIN): {
        **dict.fromkeys((40054, 40055), _("The address of a menu entry is on a domain that is not allowed.")),
        50001: _("The domain that the browser returned to is not the app's trusted domain."),
        80001: _("The trusted domain is wrong or has no ICP filing."),
        85008: _("The trusted domain has no ICP filing."),
        85111: _("The trusted domain belongs to a service provider."),
    },
    (ConfigurationError, WECOM_ADMIN, TO_APP_PAGE): {
        50006: _("This system app is disabled."),
        60031: _("The app may not call WeCom any more."),
    },
    (ConfigurationError, WECOM_ADMIN, TO_TRUSTED_IP): {
        60020: _("WeCom refuses the address of this server: it is not a trusted IP of the app."),
        301042: _("The address of this server is not on the white list."),
    },
    (ConfigurationError, WECOM_ADMIN, TO_SCOPE): {81011: _("The app has no right to use this tag.")},
    (ConfigurationError, SITE_ADMIN, _TO_ROBOT): {
        93000: _("The address of the group robot is wrong, or the robot was removed."),
        93008: _("The group robot is no longer in the group."),
    },
    (ConfigurationError, WECOM_ADMIN, _TO_ROBOT): {93004: _("The group robot is disabled.")},
    (RecipientError, SITE_ADMIN, _OWN_PLACE): {
        40003: _("The WeCom account does not exist or has left."),
        60111: _("There is no such WeCom account, or the app may not see it."),
        81013: _("Nobody can receive the message: all recipients are unknown or outside the visible scope."),
    },
    (RecipientError, SITE_ADMIN, TO_SCOPE): {
        40031: _("The list holds accounts that do not exist or are not visible to the app."),
    },
    (RecipientError, AUTHOR, TO_RECIPIENTS): {
        40068: _("The tag does not exist."),
        **dict.fromkeys(
            (40050, 49008, 86003, 86008),
            _("The group chat does not exist, was dissolved, or belongs to another app."),
        ),
    },
    (RecipientError, NOBODY, TO_RECIPIENTS): {42052: _("The message is older than 24 hours and cannot be recalled.")},
    (RecipientError, NOBODY, _OWN_PLACE): {
        46003: _("The app has no menu."),
        60140: _("The card can no longer be changed: its code was used or is older than 72 hours."),
    },
    (RecipientError, SITE_ADMIN, TO_DIRECTORY): dict.fromkeys((60003, 60123), _("The department does not exist.")),
    (RecipientError, WECOM_ADMIN, TO_SCOPE): {
        50002: _("The member is outside what the app may see."),
        60011: _("The app may not see this member, department or tag."),
        **dict.fromkeys((60021, 92000), _("The member is outside the app's visible scope.")),
    },
    (RecipientError, AUTHOR, TO_CONTENT): {
        40201: _("WeCom's content rules block this message."),
        82004: _("WeCom refuses the content, because it could crash its app."),
        85002: _("The text holds words that WeCom forbids."),
    },
    (CodeRejectedError, PERSON, TO_SIGN_IN): {
        40029: _("The sign-in code was used before or is older than five minutes."),
        41008: _("WeCom sent the browser back without a sign-in code."),
        42003: _("The sign-in code has expired."),
        42022: _("The sign-in code was used before."),
    },
    (BadRequestError, SUPPORT, TO_SUPPORT): {
        **dict.fromkeys(
            (*range(40016, 40021), *range(40022, 40028)),
            _("WeCom refuses the app's menu: number, name, kind, key or address of an entry."),
        ),
        **dict.fromkeys(
            (*(42027, 42028), *range(42031, 42037), 42038, 42039, 42042, 42044, 42045, 42048),
            _("WeCom refuses the card: a part of it is missing, not valid, or there are too many."),
        ),
        **dict.fromkeys(
            (40004, 40032, 40033, 40035, 40058, 40063, 40206, 41001, 41006, 41009, 41010, 41011, 45029)
            + (81012, 81014, 82001, 84025),
            _("WeCom refuses the request: a value is missing, not valid, or too large."),
        ),
        40093: _("The JS-SDK signature is wrong: address, ticket or time."),
        44001: _("The uploaded file is empty, or the form of the upload is wrong."),
    },
    (BadRequestError, AUTHOR, TO_RECIPIENTS): dict.fromkeys(
        (*(86001, 86002), *range(86004, 86008), 86101, *range(86201, 86208), *range(86215, 86218)),
        _("WeCom refuses the group chat: its id, its members or its owner are not valid, or the id is taken."),
    ),
    (BadRequestError, AUTHOR, TO_CONTENT): {
        40006: _("The size of the file is not allowed."),
        40039: _("An address is longer than 1024 bytes."),
        40094: _("An address is missing or has neither http nor https."),
        41016: _("The title is missing."),
        41033: _("The description is missing."),
        44004: _("The text is empty."),
        45001: _("The file is too large."),
        45002: _("The message is too long."),
        45008: _("The message has more than eight articles."),
        45034: _("An address has neither http nor https."),
    },
    (BadRequestError, AUTHOR, _OWN_PLACE): {
        40007: _("The uploaded file is unknown, of another kind, or older than three days."),
    },
    (BadRequestError, AUTHOR, _TO_PICTURE): {
        40009: _("The picture is too large."),
        40123: _("The file is not a picture."),
    },
}

_PLACES = {
    40001: _TO_SECRET,
    40003: _TO_ACCOUNT,
    40007: _("Send the message again: its files are then uploaded anew."),
    40056: _(
        "WeCom's console → App management → the app → AgentId; copy it to System integration → WeCom configuration → "
        "the company."
    ),
    40057: _("Compare token and EncodingAESKey on both sides, and check that WeCom reaches the address from outside."),
    40091: _TO_SECRET,
    43012: _("WeCom's console → App management → the app → Receive messages: enter the callback address shown here."),
    45009: _("Sending goes on when the limit's time is over. If it happens daily, spread the pushes in time."),
    45031: _("WeCom's console → App management → the app → Secret: reset it, and enter the new one here."),
    45033: _("Sending goes on by itself. If it happens often, lower the number of parallel calls in the settings."),
    46003: _("Nothing to be done, unless the app should have a menu."),
    48002: _("Check that the app's own Secret is entered, and the directory-sync Secret only in its own field."),
    48006: _("WeCom's console → App management → the app → enable it again."),
    48009: _("Leave the directory-sync Secret empty: the app's own Secret reads the members in its visible scope."),
    50003: _("WeCom's console → App management → the app → enable it."),
    50100: _("Nothing to be done: the next synchronisation reads the list from its start."),
    60111: _TO_ACCOUNT,
    60140: _("Nothing to be done: the message itself stays as it is."),
    81013: _("Check the WeCom accounts of the recipients, and the visible scope in WeCom's console → the app."),
    85004: _("Wait for the next month, or keep the domain that is set."),
    85005: _(
        "Download the verification file in WeCom's console, upload it here under “Verification file”, then verify."
    ),
    301002: _("Copy AgentId and Secret from the same page: WeCom's console → App management → the app."),
    701008: _TO_LICENCE,
    701099: _TO_LICENCE,
}

ENTRIES = {
    code: Entry(error, Explanation(what, who, where or _PLACES[code]))
    for (error, who, where), group in _GROUPS.items()
    for code, what in group.items()
}

# Codes that mean something else for one call.
EXPLANATIONS_OF_CALLS = {
    ("gettoken", 45009): Explanation(
        _("WeCom gives this server no token for an hour: too many were asked for, or with a wrong Secret."),
        SITE_ADMIN,
        _(
            "Correct the Secret on the company's page, and in every other program that calls WeCom from the same "
            "address. It goes on by itself when the time is over; asking again earlier makes it longer."
        ),
    )
}


OK = 0
BUSY = -1
INVALID_CREDENTIAL = 40001
INVALID_CORPID = 40013
INVALID_TOKEN = 40014
INVALID_SECRET = 40091
TOKEN_EXPIRED = 42001
RATE_LIMITED = 45009
TOO_MANY_PARALLEL = 45033
IP_NOT_TRUSTED = 60020
NOBODY_REACHED = 81013

# gettoken refuses the Secret itself.
SECRET_REFUSED = frozenset({INVALID_CREDENTIAL, INVALID_CORPID, INVALID_SECRET})

# The token is invalid or has expired: fetch a new one, once.
STALE_TOKEN_CODES = frozenset({INVALID_CREDENTIAL, INVALID_TOKEN, TOKEN_EXPIRED})


_UNKNOWN = Explanation(
    what=_("WeCom answered with an error code that this program does not know."),
    who=SITE_ADMIN,
    where=_("Look the code up at https://open.work.weixin.qq.com/devtool/query and send code and hint to support."),
)


_UNREADABLE = Explanation(
    what=_("A stored secret cannot be read with the present keys (FIELD_ENCRYPTION_KEYS)."),
    who=SITE_ADMIN,
    where=_("Add the lost key behind the present ones and restart, or enter the secret again on its page."),
)


def find_error_class(code: int) -> type[IntegrationError]:
    """Return the error class of `code`; an unknown code is never retried."""
    entry = ENTRIES.get(code)
    return UnexpectedResponseError if entry is None else entry.error


def explain(code: int, *, operation: str = "") -> Explanation:
    """Return the explanation of `code` for an administrator, in English. `operation`: the refused call, if known."""
    if code == UNREADABLE_SECRET:
        return _UNREADABLE
    if (operation, code) in EXPLANATIONS_OF_CALLS:
        return replace(EXPLANATIONS_OF_CALLS[operation, code], guide=find_guide_anchor(code, operation=operation))
    return replace(ENTRIES[code].explanation, guide=find_guide_anchor(code)) if code in ENTRIES else _UNKNOWN


def find_guide_anchor(code: int, *, operation: str = "") -> str:
    """Return the anchor of `code` on the guides' page of errors."""
    return "-".join(filter(None, ["errcode", operation, str(code).replace("-", "minus-")]))
