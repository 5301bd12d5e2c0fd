"""Codes about credentials, permissions, the network and limits."""

from __future__ import annotations

from integrations.clients.errors import BadRequestError, ConfigurationError, RateLimitedError, TransientError
from integrations.clients.wecom.errcodes.entry import (
    NOBODY,
    SITE_ADMIN,
    SUPPORT,
    TO_APP_PAGE,
    TO_CORP_PAGE,
    TO_PERMISSIONS,
    TO_SCOPE,
    TO_SUPPORT,
    TO_TRUSTED_DOMAIN,
    TO_TRUSTED_IP,
    TO_WAIT,
    WECOM_ADMIN,
    Entry,
)
from integrations.clients.wecom.errcodes.entry import gettext_noop as _

_NOT_NOW = TransientError
_SETTING = ConfigurationError
_LIMIT = RateLimitedError
_BUG = BadRequestError

ENTRIES = (
    Entry(-1, _NOT_NOW, _("WeCom is busy."), NOBODY, TO_WAIT),
    Entry(6000, _NOT_NOW, _("Somebody else changed the same data at the same time."), NOBODY, TO_WAIT),
    Entry(
        40001,
        _SETTING,
        _("WeCom refuses the Secret: it is wrong, was reset, belongs to another company, or the app is disabled."),
        SITE_ADMIN,
        _(
            "WeCom's console → App management → the app → Secret; copy it to System integration → WeCom companies → "
            "the company."
        ),
    ),
    Entry(40013, _SETTING, _("The CorpId does not exist."), SITE_ADMIN, TO_CORP_PAGE),
    Entry(40014, _NOT_NOW, _("WeCom refuses the access token, also a fresh one."), NOBODY, TO_WAIT),
    Entry(42001, _NOT_NOW, _("The access token has ended, also a fresh one."), NOBODY, TO_WAIT),
    Entry(
        40056,
        _SETTING,
        _("The AgentId is wrong."),
        SITE_ADMIN,
        _(
            "WeCom's console → App management → the app → AgentId; copy it to System integration → WeCom companies → "
            "the company."
        ),
    ),
    Entry(
        40091,
        _SETTING,
        _("The Secret is not valid; it may belong to another company."),
        SITE_ADMIN,
        _(
            "WeCom's console → App management → the app → Secret; copy it to System integration → WeCom companies → "
            "the company."
        ),
    ),
    Entry(41001, _BUG, _("The access token was missing from the request."), SUPPORT, TO_SUPPORT),
    Entry(41002, _SETTING, _("The CorpId is empty."), SITE_ADMIN, TO_CORP_PAGE),
    Entry(41004, _SETTING, _("The Secret is empty."), SITE_ADMIN, TO_CORP_PAGE),
    Entry(41011, _BUG, _("The AgentId was missing from the request."), SUPPORT, TO_SUPPORT),
    Entry(
        40057,
        _SETTING,
        _("WeCom could not verify the callback address."),
        SITE_ADMIN,
        _("Compare token and EncodingAESKey on both sides, and check that WeCom reaches the address from outside."),
    ),
    Entry(
        43012,
        _SETTING,
        _("WeCom asks for a callback address before this can be used."),
        WECOM_ADMIN,
        _("WeCom's console → App management → the app → Receive messages: enter the callback address shown here."),
    ),
    Entry(
        45009,
        _LIMIT,
        _("Too many calls: WeCom's frequency limit is reached."),
        NOBODY,
        _("Sending goes on when the limit's time is over. If it happens daily, spread the subscriptions in time."),
    ),
    Entry(
        45033,
        _LIMIT,
        _("Too many calls at the same time."),
        NOBODY,
        _("Sending goes on by itself. If it happens often, lower the number of parallel calls in the settings."),
    ),
    Entry(
        45024,
        _SETTING,
        _("The company has reached its limit of accounts."),
        WECOM_ADMIN,
        _("WeCom's console → My company → Company information."),
    ),
    Entry(
        45031,
        _SETTING,
        _("WeCom considers the Secret unsafe."),
        WECOM_ADMIN,
        _("WeCom's console → App management → the app → Secret: reset it, and enter the new one here."),
    ),
    Entry(48001, _SETTING, _("The app has no permission for this interface."), WECOM_ADMIN, TO_PERMISSIONS),
    Entry(
        48002,
        _SETTING,
        _("This kind of Secret may not use this interface."),
        SITE_ADMIN,
        _("Check that the app's own Secret is entered, and the directory-sync Secret only in its own field."),
    ),
    Entry(48004, _SETTING, _("The permission of the app was withdrawn."), WECOM_ADMIN, TO_PERMISSIONS),
    Entry(48005, _SETTING, _("WeCom has retired this interface."), SITE_ADMIN, TO_SUPPORT),
    Entry(
        48006,
        _SETTING,
        _("WeCom has parked the app because nobody used it for long."),
        WECOM_ADMIN,
        _("WeCom's console → App management → the app → enable it again."),
    ),
    Entry(
        48009,
        _SETTING,
        _("The directory-sync Secret may not read details from this address (rule of August 2022)."),
        SITE_ADMIN,
        _("Leave the directory-sync Secret empty: the app's own Secret reads the members in its visible scope."),
    ),
    Entry(
        50001,
        _SETTING,
        _("The domain that the browser returned to is not the app's trusted domain."),
        WECOM_ADMIN,
        TO_TRUSTED_DOMAIN,
    ),
    Entry(
        50003,
        _SETTING,
        _("The app is disabled."),
        WECOM_ADMIN,
        _("WeCom's console → App management → the app → enable it."),
    ),
    Entry(50006, _SETTING, _("This system app is disabled."), WECOM_ADMIN, TO_APP_PAGE),
    Entry(
        60020,
        _SETTING,
        _("WeCom refuses the address of this server: it is not a trusted IP of the app."),
        WECOM_ADMIN,
        TO_TRUSTED_IP,
    ),
    Entry(301042, _SETTING, _("The address of this server is not on the white list."), WECOM_ADMIN, TO_TRUSTED_IP),
    Entry(
        60028, _SETTING, _("The home page of a third-party app cannot be changed from here."), WECOM_ADMIN, TO_APP_PAGE
    ),
    Entry(60031, _SETTING, _("The app may not call WeCom any more."), WECOM_ADMIN, TO_APP_PAGE),
    Entry(80001, _SETTING, _("The trusted domain is wrong or has no ICP filing."), WECOM_ADMIN, TO_TRUSTED_DOMAIN),
    Entry(81011, _SETTING, _("The app has no right to use this tag."), WECOM_ADMIN, TO_SCOPE),
    Entry(
        85004,
        _SETTING,
        _("The trusted domain was changed more than 20 times this month."),
        WECOM_ADMIN,
        _("Wait for the next month, or keep the domain that is set."),
    ),
    Entry(
        85005,
        _SETTING,
        _("The ownership of the trusted domain is not verified."),
        WECOM_ADMIN,
        _("Download the verification file in WeCom's console, upload it here under “Verification file”, then verify."),
    ),
    Entry(85006, _SETTING, _("The list of trusted IPs is too long."), WECOM_ADMIN, TO_TRUSTED_IP),
    Entry(85007, _SETTING, _("An entry of the trusted IPs is not an address."), WECOM_ADMIN, TO_TRUSTED_IP),
    Entry(85008, _SETTING, _("The trusted domain has no ICP filing."), WECOM_ADMIN, TO_TRUSTED_DOMAIN),
    Entry(85111, _SETTING, _("The trusted domain belongs to a service provider."), WECOM_ADMIN, TO_TRUSTED_DOMAIN),
    Entry(
        301002,
        _SETTING,
        _("The Secret belongs to another app than the AgentId."),
        SITE_ADMIN,
        _("Copy AgentId and Secret from the same page: WeCom's console → App management → the app."),
    ),
    Entry(
        701008,
        _SETTING,
        _("The app has no interface licence for this person."),
        WECOM_ADMIN,
        _("WeCom's console → App management → the app → Interface licence."),
    ),
    Entry(
        701099,
        _SETTING,
        _("The interface licences of the app are used up."),
        WECOM_ADMIN,
        _("WeCom's console → App management → the app → Interface licence."),
    ),
    Entry(2000002, _SETTING, _("The CorpId does not exist."), SITE_ADMIN, TO_CORP_PAGE),
)

# What a code means of one call, where that differs.
OF_OPERATIONS = {
    ("gettoken", 45009): Entry(
        45009,
        _LIMIT,
        _("WeCom gives this server no token for an hour: too many were asked for, or with a wrong Secret."),
        SITE_ADMIN,
        _(
            "Correct the Secret on the company's page, and in every other program that calls WeCom from the same "
            "address. It goes on by itself when the time is over; asking again earlier makes it longer."
        ),
    )
}
