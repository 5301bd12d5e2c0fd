"""The form of a mail channel, and what an administrator enters at the system that sends the mails."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_domain_name
from django.db.models.functions import Now
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import Heartbeat
from notifications.admin.inbound.form import ChannelForm, LinesField
from notifications.inbound.mail.rules import EXTENSIONS, Forward, MailRules

_EXTENSION = re.compile(r"[a-z0-9]{1,10}")
# Of MailRules, each with the field of the form that holds it.
RULE_FIELDS = (
    *("takes_text", "takes_picture", "attachments", "footers", "networks"),
    *("tells_sender", "forward", "mail_domains"),
)


class WordsField(forms.CharField):
    """Words with commas or spaces between them, in small letters."""

    def clean(self, value: Any) -> tuple[str, ...]:
        words = re.split(r"[\s,，;]+", str(super().clean(value)).lower())  # noqa: RUF001  # as people type them
        return tuple(dict.fromkeys(filter(None, words)))


class MailChannelForm(ChannelForm):
    """Of InboundChannel.Kind.MAIL: in place of a mapping it has rules."""

    takes_text = forms.BooleanField(label=_("Send the text"), required=False)
    takes_picture = forms.BooleanField(
        label=_("Send the first picture"),
        required=False,
        help_text=_("Of those that stand in the mail; icons are passed over. The page of the message shows all."),
    )
    attachments = WordsField(
        label=_("Send attachments of these types"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"size": 50}),
        help_text=_("With commas between them; each is a message of its own, at most 20 MB. Empty: none."),
    )
    footers = LinesField(
        label=_("A footer begins with"),
        help_text=_("One beginning of a line each. From the first such line on, the rest of the text is left out."),
    )
    networks = LinesField(
        label=_("Only from these networks"), help_text=_("One a line, for example 10.1.0.0/16. Empty: from all.")
    )
    tells_sender = forms.BooleanField(
        label=_("Tell the sender by mail whom it did not reach"),
        required=False,
        help_text=_("Needs EMAIL_URL. Automatic mails and bounces are not answered."),
    )
    forward = forms.ChoiceField(
        label=_("Who gets the mail, too"),
        required=False,
        choices=[
            (Forward.NOBODY.value, _("nobody")),
            (Forward.UNKNOWN.value, _("recipients for whom nobody was found")),
            (Forward.EVERYBODY.value, _("all recipients")),
        ],
        help_text=_("By our own mail server: needs EMAIL_URL."),
    )
    mail_domains = WordsField(
        label=_("Mails go only to these domains"),
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"size": 50}),
        help_text=_("For example partner.example.com. Only superusers set them."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        help_text = _("Counted by person: a message to five people is five. Mails that are passed on count, too.")
        self.fields["daily_limit"].help_text = help_text
        self.fields["mail_domains"].disabled = not self.person.is_superuser
        self.initial.update(self.mapped_values(self.instance))

    def mapped_values(self, channel: Any) -> dict[str, Any]:
        rules = MailRules.of(channel.mapping)
        return {name: self.as_text(name, getattr(rules, name)) for name in RULE_FIELDS}

    def as_text(self, name: str, value: Any) -> Any:
        is_words = isinstance(self.base_fields[name], WordsField)
        return ", ".join(value) if is_words and isinstance(value, tuple) else super().as_text(name, value)

    def clean_attachments(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.cleaned_data["attachments"]
        if wrong := [one for one in found if not _EXTENSION.fullmatch(one.lstrip("."))]:
            words = {"word": wrong[0][:20], "example": ", ".join(EXTENSIONS[:3])}
            raise ValidationError(_("“%(word)s” is no file type. Write for example %(example)s."), params=words)
        return tuple(dict.fromkeys(one.lstrip(".") for one in found))

    def clean_networks(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.cleaned_data["networks"]
        for one in found:
            try:
                ipaddress.ip_network(one)
            except ValueError:
                words = {"word": one[:60]}
                raise ValidationError(
                    _("“%(word)s” is no network. Write for example 10.1.0.0/16."), params=words
                ) from None
        return found

    def clean_mail_domains(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.cleaned_data["mail_domains"]
        for one in found:
            validate_domain_name(one)
        return found

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        mails = cleaned.get("forward") or cleaned.get("tells_sender")
        if mails and not cleaned.get("mail_domains") and "mail_domains" not in self.errors:
            self.add_error("mail_domains", _("Name the domains to which mails may go."))
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()
        if not self.errors:
            self.instance.mapping = MailRules(**{name: self.cleaned_data[name] for name in RULE_FIELDS}).document()


FIELDSETS = [
    (None, {"fields": ("name", "is_enabled", "corp")}),
    (
        _("What is sent"),
        {"fields": ("takes_text", "takes_picture", "attachments", "footers", "form", "priority", "lifetime_hours")},
    ),
    (
        _("Who may get it"),
        {"fields": ("reach", "departments", "users", "groups", "with_subdepartments", "daily_limit")},
    ),
    (_("Who is told by mail"), {"classes": ("collapse",), "fields": ("tells_sender", "forward", "mail_domains")}),
    (_("From where it may come"), {"classes": ("collapse",), "fields": ("networks",)}),
]


def server_facts(public_id: str) -> list[tuple[str, str]]:
    """What is entered at the sender, beside the password."""
    domain = settings.MAIL_DOOR_DOMAINS[0]
    return [
        (gettext("Mail server (SMTP)"), gettext("the server on which the mail door runs")),
        (gettext("Port"), str(settings.MAIL_DOOR_LISTEN[1])),
        (gettext("Encryption"), _encryption()),
        (capfirst(gettext("user name")), public_id),
        (gettext("Recipients"), f"loginId@{domain}, userid@{domain}"),
    ]


def _encryption() -> str:
    if not settings.MAIL_DOOR_CERTIFICATE:
        return gettext("none")
    return "SSL/TLS" if settings.MAIL_DOOR_TLS_FROM_START else "STARTTLS"


def is_door_open() -> bool:
    """Whether a mail door runs."""
    return Heartbeat.objects.filter(
        kind=Heartbeat.Kind.MAIL, beat_at__gt=Now() - timedelta(seconds=STALE_SECONDS)
    ).exists()
