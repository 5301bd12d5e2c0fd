"""Codes about people, departments, tags, chats and sign-in: what can be dropped or done anew."""

from __future__ import annotations

from integrations.clients.errors import BadRequestError, LoginRefusedError, RecipientError, TransientError
from integrations.clients.wecom.errcodes.entry import (
    AUTHOR,
    NOBODY,
    PERSON,
    SITE_ADMIN,
    SUPPORT,
    TO_CONTENT,
    TO_DIRECTORY,
    TO_RECIPIENTS,
    TO_SCOPE,
    TO_SIGN_IN,
    TO_SUPPORT,
    WECOM_ADMIN,
    Entry,
)
from integrations.clients.wecom.errcodes.entry import gettext_noop as _

_DROP = RecipientError
_AGAIN = LoginRefusedError
_BUG = BadRequestError

ENTRIES = (
    Entry(
        40003,
        _DROP,
        _("The WeCom account does not exist or has left."),
        SITE_ADMIN,
        _("Users → the person → WeCom account: compare it with WeCom's console → Contacts → the member → Account."),
    ),
    Entry(
        40031,
        _DROP,
        _("The list holds accounts that do not exist or are not visible to the app."),
        SITE_ADMIN,
        TO_SCOPE,
    ),
    Entry(40050, _DROP, _("The group chat does not exist."), AUTHOR, TO_RECIPIENTS),
    Entry(40068, _DROP, _("The tag does not exist."), AUTHOR, TO_RECIPIENTS),
    Entry(40073, _DROP, _("The openid is not known."), SITE_ADMIN, TO_SUPPORT),
    Entry(42052, _DROP, _("The message is older than 24 hours and cannot be recalled."), NOBODY, TO_RECIPIENTS),
    Entry(43004, _DROP, _("The member has not connected WeChat."), PERSON, TO_DIRECTORY),
    Entry(46003, _DROP, _("The app has no menu."), NOBODY, _("Nothing to be done, unless the app should have a menu.")),
    Entry(46004, _DROP, _("Nobody in WeCom has this mobile number or e-mail address."), SITE_ADMIN, TO_DIRECTORY),
    Entry(49008, _DROP, _("The group chat was dissolved."), AUTHOR, TO_RECIPIENTS),
    Entry(50002, _DROP, _("The member is outside what the app may see."), WECOM_ADMIN, TO_SCOPE),
    Entry(60003, _DROP, _("The department does not exist."), SITE_ADMIN, TO_DIRECTORY),
    Entry(60123, _DROP, _("The department does not exist."), SITE_ADMIN, TO_DIRECTORY),
    Entry(60011, _DROP, _("The app may not see this member, department or tag."), WECOM_ADMIN, TO_SCOPE),
    Entry(60021, _DROP, _("The member is outside the app's visible scope."), WECOM_ADMIN, TO_SCOPE),
    Entry(
        60102,
        _BUG,
        _("The WeCom account exists already."),
        SITE_ADMIN,
        _("Choose another account, or link the one that exists."),
    ),
    Entry(
        60111,
        _DROP,
        _("There is no such WeCom account, or the app may not see it."),
        SITE_ADMIN,
        _("Users → the person → WeCom account: compare it with WeCom's console → Contacts → the member → Account."),
    ),
    Entry(
        60140,
        _DROP,
        _("The card can no longer be changed: its code was used or is older than 72 hours."),
        NOBODY,
        _("Nothing to be done: the message itself stays as it is."),
    ),
    Entry(
        81013,
        _DROP,
        _("Nobody can receive the message: all recipients are unknown or outside the visible scope."),
        SITE_ADMIN,
        _("Check the WeCom accounts of the recipients, and the visible scope in WeCom's console → the app."),
    ),
    Entry(82101, _DROP, _("Nobody is named whose card should be changed."), NOBODY, TO_SUPPORT),
    Entry(82102, _DROP, _("The person did not receive the card that should be changed."), NOBODY, TO_SUPPORT),
    Entry(92000, _DROP, _("The member is outside the app's visible scope."), WECOM_ADMIN, TO_SCOPE),
    Entry(40201, _DROP, _("WeCom's content rules block this message."), AUTHOR, TO_CONTENT),
    Entry(82004, _DROP, _("WeCom refuses the content, because it could crash its app."), AUTHOR, TO_CONTENT),
    Entry(85002, _DROP, _("The text holds words that WeCom forbids."), AUTHOR, TO_CONTENT),
    # Sign-in
    Entry(40029, _AGAIN, _("The sign-in code was used before or is older than five minutes."), PERSON, TO_SIGN_IN),
    Entry(41008, _AGAIN, _("WeCom sent the browser back without a sign-in code."), PERSON, TO_SIGN_IN),
    Entry(42003, _AGAIN, _("The sign-in code has ended."), PERSON, TO_SIGN_IN),
    Entry(42022, _AGAIN, _("The sign-in code was used before."), PERSON, TO_SIGN_IN),
    Entry(84014, _AGAIN, _("The permission to read personal details has ended."), PERSON, TO_SIGN_IN),
    Entry(84015, _AGAIN, _("The permission to read personal details is not valid."), PERSON, TO_SIGN_IN),
    Entry(84025, _BUG, _("The state of a sign-in may hold letters and digits only, at most 128."), SUPPORT, TO_SUPPORT),
    # Requests about many people
    Entry(40032, _BUG, _("The list of accounts is too long for one call."), SUPPORT, TO_SUPPORT),
    Entry(81012, _BUG, _("No recipients were given."), SUPPORT, TO_SUPPORT),
    Entry(81014, _BUG, _("Too many members for one call."), SUPPORT, TO_SUPPORT),
    Entry(82001, _BUG, _("The message names no recipient at all."), SUPPORT, TO_SUPPORT),
    Entry(82002, _BUG, _("The message names more than 100 departments."), SUPPORT, TO_SUPPORT),
    Entry(82003, _BUG, _("The message names more than 100 tags."), SUPPORT, TO_SUPPORT),
    Entry(41009, _BUG, _("The WeCom account was missing from the request."), SUPPORT, TO_SUPPORT),
    Entry(40066, _BUG, _("The list of departments is not valid."), SUPPORT, TO_SUPPORT),
    Entry(45029, _BUG, _("The answer would be too large: the request must be narrowed."), SUPPORT, TO_SUPPORT),
    Entry(
        50100,
        TransientError,
        _("WeCom lost the place in a long list."),
        NOBODY,
        _("Nothing to be done: the next synchronisation reads the list from its start."),
    ),
    # Group chats of the application
    Entry(86001, _BUG, _("The id of the group chat is not valid."), AUTHOR, TO_RECIPIENTS),
    Entry(86003, _DROP, _("The group chat does not exist."), AUTHOR, TO_RECIPIENTS),
    Entry(86008, _DROP, _("The group chat belongs to another app."), AUTHOR, TO_RECIPIENTS),
    Entry(86205, _BUG, _("The id of the group chat is too long."), SUPPORT, TO_SUPPORT),
    Entry(86207, _BUG, _("The owner of the group chat is not among its members."), AUTHOR, TO_RECIPIENTS),
    Entry(86215, _BUG, _("A group chat with this id exists already."), SUPPORT, TO_SUPPORT),
    *(
        Entry(code, _BUG, _("The members of the group chat are not valid, too few or too many."), AUTHOR, TO_RECIPIENTS)
        for code in (86006, 86007, 86204, 86216)
    ),
    *(
        Entry(code, _BUG, _("WeCom refuses the request for the group chat."), SUPPORT, TO_SUPPORT)
        for code in (86002, 86004, 86005, 86101, 86201, 86202, 86203, 86206, 86217)
    ),
)
