"""Forms of inbound channels: of a new channel, of a saved webhook, and of a saved mail channel."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_domain_name
from django.db.models.functions import Now
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.models import Attribute, User
from accounts.users.roles import sees_rows_without_corp
from integrations.clients import expressions
from integrations.clients.expressions import InvalidExpressionError
from integrations.core.admin_pages import AnyModelForm, VersionedForm
from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import Corp, Heartbeat
from notifications.admin.subscription_forms import FIELD_CLASSES, offer_people
from notifications.inbound import channels
from notifications.inbound.channels import SCHEMES, WEBHOOK_SCHEMES
from notifications.inbound.mail.parse import EXTENSIONS, Forward, MailRules
from notifications.inbound.mapping import OTHER, PRESETS, ChannelMapping
from notifications.inbound.recipients import AddressKind
from notifications.models import InboundChannel
from notifications.models.inbound import FIGURES_AT_MOST
from notifications.models.subscriptions import INCOMING_FORMS
from notifications.reports.templates import renderer
from notifications.reports.templates.merge_fields import PAYLOAD
from notifications.reports.templates.values import TemplateError

PATH_CHARACTERS = 1000
LINES_AT_MOST = 20
RECIPIENTS = (
    ("", _("the people chosen here")),
    (AddressKind.USER.value, _("a field with user names")),
    (AddressKind.USERID.value, _("a field with WeCom accounts (userid)")),
    (AddressKind.LOGIN_ID.value, _("a field with BI accounts (loginId)")),
    (AddressKind.EMAIL.value, _("a field with mail addresses")),
    (AddressKind.ATTRIBUTE.value, _("a field with values of an attribute")),
    (AddressKind.DEPARTMENT.value, _("a field with departments")),
    (AddressKind.GROUP.value, _("a field with groups")),
)
# Fields that webhooks and mail channels have.
COMMON_FIELDS = (
    *("name", "is_enabled", "corp", "reach", "departments", "users", "groups", "with_subdepartments"),
    *("form", "priority", "lifetime_hours", "daily_limit"),
)
# Fields of webhooks only, besides the mapping.
ALERT_FIELDS = ("is_alert", "gather_seconds", "repeat_minutes", "notifies_recovery")
WEBHOOK_FIELDS = (*ALERT_FIELDS, "scheme", "allows_private_addresses")
MAPPING_FIELDS = tuple(ChannelMapping.__dataclass_fields__)
TEMPLATES = ("title", "text")
PATHS = ("recipient_path", "only_path", "key_path", "link_path", "severity_path")


class NewChannelForm(AnyModelForm):
    """The form of a new channel. `person`: the signed-in administrator, who becomes the owner; set by the admin."""

    person: User
    preset = forms.ChoiceField(
        label=capfirst(_("sender")),
        required=False,
        widget=forms.RadioSelect,
        help_text=_("For a webhook: a known sender, or one whose fields you pick from its first call."),
    )

    class Meta:
        model = InboundChannel
        fields = ("name", "kind", "preset")
        widgets = {"kind": forms.RadioSelect}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        preset: Any = self.fields["preset"]
        preset.choices = [(name, one.label) for name, one in PRESETS.items()]
        self.initial["preset"] = OTHER

    def save(self, commit: bool = True) -> InboundChannel:
        channel: InboundChannel = self.instance
        channel.owner = self.person
        channel.scheme = channels.FIRST_SCHEMES[InboundChannel.Kind(channel.kind)]
        channel.preset = self.cleaned_data["preset"] or OTHER
        if channel.kind == InboundChannel.Kind.WEBHOOK:
            preset = PRESETS[channel.preset]
            channel.scheme, channel.mapping = preset.scheme, preset.mapping.to_document()
            channel.is_alert = preset.is_alert
        # The channel of people limited to some companies must not reach companies that they are given later.
        if not sees_rows_without_corp(self.person):
            channel.corp = Corp.objects.visible_to(self.person).order_by("pk").first()
        saved: InboundChannel = super().save(commit=commit)
        return saved


class ListField(forms.CharField):
    """A list of values in one text, with `separator` between them."""

    separator = "\n"

    def prepare_value(self, value: Any) -> Any:
        return self.separator.join(value) if isinstance(value, tuple) else value

    def to_python(self, value: Any) -> str | None:
        return super().to_python(self.prepare_value(value))  # Django cleans the initial list of a disabled field

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class LinesField(ListField):
    """A list of values, one per line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, widget=forms.Textarea(attrs={"rows": 2}), **kwargs)

    def clean(self, value: Any) -> tuple[str, ...]:
        lines = tuple(line.strip() for line in str(super().clean(value)).splitlines() if line.strip())
        if len(lines) > LINES_AT_MOST:
            raise ValidationError(_("At most %(count)d lines."), params={"count": LINES_AT_MOST})
        return lines


def _make_path_field(label: Any, help_text: Any = "") -> forms.CharField:
    return forms.CharField(label=label, required=False, max_length=PATH_CHARACTERS, help_text=help_text)


class ChannelForm(VersionedForm):
    """The form of a saved channel. `person`: the signed-in administrator, set by the admin. The fields of the mapping
    are removed for mail channels."""

    person: User
    title = forms.CharField(label=capfirst(_("title")), required=False, max_length=1000)
    text = forms.CharField(
        label=capfirst(_("body")), required=False, max_length=10_000, widget=forms.Textarea(attrs={"rows": 6})
    )
    is_markdown = forms.BooleanField(
        label=_("the text is Markdown"), required=False, help_text=_("The content of fields stays plain text.")
    )
    recipient_kind = forms.ChoiceField(label=_("Who gets it"), required=False, choices=RECIPIENTS)
    recipient_path = _make_path_field(
        _("Field with the recipients"), _("Pick it above. One text may name several, with commas or spaces.")
    )
    recipient_attribute = forms.ChoiceField(label=_("Attribute"), required=False)
    only_path = _make_path_field(_("Send only if this field"), _("A field, or a JMESPath expression."))
    only_values = LinesField(label=_("is one of"), help_text=_("One per line. Empty: if it is true or not empty."))
    key_path = _make_path_field(
        _("Send once for each value of"), _("A call with a value that came before sends nothing again.")
    )
    link_path = _make_path_field(capfirst(_("link")))
    severity_path = _make_path_field(_("Severity"))
    urgent_values = LinesField(label=_("is urgent if it is"), help_text=_("One per line, for example critical."))
    figures = LinesField(
        label=_("Key figures"), help_text=_("One per line, as caption: field, for example Orders: summary.orders.")
    )
    file_paths = LinesField(
        label=_("Pictures and files"),
        help_text=_(
            "Fields with an address (http or https) or with base64, one per line. At most 20 MB each; as base64 3 MB."
        ),
    )

    class Meta:
        model = InboundChannel
        fields = (*COMMON_FIELDS, *WEBHOOK_FIELDS)
        field_classes = {"departments": FIELD_CLASSES["departments"]}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "corp" not in fields:  # view permission only
            return
        fields["corp"].queryset = Corp.objects.visible_to(self.person)
        fields["corp"].required = not sees_rows_without_corp(self.person)
        offer_people(fields, self.instance, self.person)
        fields["form"].choices = [("", _("chosen by what comes in")), *INCOMING_FORMS]
        fields["form"].required = False
        if self.instance.kind == InboundChannel.Kind.MAIL:
            for name in (*MAPPING_FIELDS, *WEBHOOK_FIELDS):
                fields.pop(name, None)
            return
        if not self.person.is_superuser:
            fields["allows_private_addresses"].disabled = True
        fields["scheme"] = forms.ChoiceField(
            label=_("How the sender authenticates"),
            choices=[(name, SCHEMES[name].label) for name in WEBHOOK_SCHEMES],
            help_text=_(
                "A change gives the channel a new secret, which is shown after saving. Without a signature over the "
                "time, anybody who recorded a call can repeat it at any time."
            ),
        )
        attributes = Attribute.objects.order_by("name").values_list("key", "name")
        fields["recipient_attribute"].choices = [("", "—"), *attributes]
        mapping = ChannelMapping.from_document(self.instance.mapping)
        self.initial.update({name: getattr(mapping, name) for name in MAPPING_FIELDS})
        self.initial["figures"] = tuple(f"{caption}: {path}" for caption, path in mapping.figures)

    def read_values(self, row: Any) -> dict[str, Any]:
        return {**super().read_values(row), "mapping": row.mapping}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "title" not in self.fields:  # a mail channel, or view permission only
            return cleaned
        for name in TEMPLATES:
            try:
                renderer.compile_template(cleaned.get(name, ""), frozenset({PAYLOAD}))
            except TemplateError as error:
                self.add_error(name, str(error))
        for name in PATHS:
            self._check_path(name, cleaned.get(name, ""))
        for path in cleaned.get("file_paths", ()):
            self._check_path("file_paths", path)
        pairs = []
        for line in cleaned.get("figures", ())[:FIGURES_AT_MOST]:
            caption, colon, path = line.partition(":")
            if not colon or not caption.strip() or not path.strip():
                self.add_error("figures", _("Write each line as caption: field."))
                break
            self._check_path("figures", path.strip())
            pairs.append((caption.strip(), path.strip()))
        cleaned["figures"] = tuple(pairs)
        self._check_recipients(cleaned)
        return cleaned

    def _post_clean(self) -> None:
        """Set the mapping from the valid fields."""
        super()._post_clean()  # type: ignore[misc]  # the stubs do not know it
        if "title" in self.fields:
            values = {name: self.cleaned_data[name] for name in MAPPING_FIELDS if name in self.cleaned_data}
            values["urgent_values"] = tuple(one.lower() for one in values.get("urgent_values", ()))
            self.instance.mapping = ChannelMapping(**values).to_document()

    def _check_path(self, name: str, path: str) -> None:
        try:
            if path:
                expressions.check_expression(path)
        except InvalidExpressionError as error:
            sentence = _("“%(path)s” uses a function that JMESPath does not have.")
            if error.position >= 0:
                sentence = _("“%(path)s” is no JMESPath: it is not understood from character %(number)d on.")
            self.add_error(name, sentence % {"path": path[:80], "number": error.position + 1})

    def _check_recipients(self, cleaned: dict[str, Any]) -> None:
        kind = cleaned.get("recipient_kind", "")
        if kind and not cleaned.get("recipient_path"):
            self.add_error("recipient_path", _("Choose the field that names the recipients."))
        if kind == AddressKind.ATTRIBUTE and not cleaned.get("recipient_attribute"):
            self.add_error("recipient_attribute", _("Choose the attribute whose values the field has."))
        if cleaned.get("is_alert") and kind:
            self.add_error("recipient_kind", _("An alert goes to the people chosen here."))
        has_people = any(cleaned.get(name) for name in ("departments", "users", "groups"))
        if cleaned.get("is_enabled") and not kind and not has_people:
            self.add_error("departments", _("Choose departments, people or groups, or a field that names them."))
        has_text = cleaned.get("is_alert") or cleaned.get("title") or cleaned.get("text")
        if cleaned.get("is_enabled") and not has_text:
            self.add_error("title", _("Write a title or a text, or pick fields for them."))


_EXTENSION = re.compile(r"[a-z0-9]{1,10}")
# Attributes of MailRules; the fields of the form have the same names.
RULE_FIELDS = (
    *("takes_text", "takes_picture", "attachments", "footers", "networks"),
    *("tells_sender", "forward", "mail_domains"),
)


class WordsField(ListField):
    """A list of lower-case words, separated by commas, semicolons or spaces."""

    separator = ", "

    def clean(self, value: Any) -> tuple[str, ...]:
        words = re.split(r"[\s,，;]+", str(super().clean(value)).lower())
        return tuple(dict.fromkeys(filter(None, words)))


class MailChannelForm(ChannelForm):
    """The form of a mail channel, which has rules instead of a mapping."""

    takes_text = forms.BooleanField(label=_("Send the text"), required=False)
    takes_picture = forms.BooleanField(
        label=_("Send the first picture"),
        required=False,
        help_text=_("The first one inside the mail; icons are skipped. The page of the message shows all."),
    )
    attachments = WordsField(
        label=_("Send attachments of these types"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"size": 50}),
        help_text=_(
            "Separated by commas. Each attachment is sent as a message of its own, at most 20 MB. Empty: none."
        ),
    )
    footers = LinesField(
        label=_("A footer begins with"),
        help_text=_("One beginning per line. The text is cut at the first line that begins so."),
    )
    networks = LinesField(
        label=_("Only from these networks"), help_text=_("One per line, for example 10.1.0.0/16. Empty: all.")
    )
    tells_sender = forms.BooleanField(
        label=_("Tell the sender by mail which recipients were not reached"),
        required=False,
        help_text=_("Needs EMAIL_URL. Automatic mails and bounces are not answered."),
    )
    forward = forms.ChoiceField(
        label=_("Who also gets the mail"),
        required=False,
        choices=[
            (Forward.NOBODY.value, _("nobody")),
            (Forward.UNKNOWN.value, _("recipients for whom nobody was found")),
            (Forward.EVERYBODY.value, _("all recipients")),
        ],
        help_text=_("Forwarded by our own mail server: needs EMAIL_URL."),
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
        help_text = _("Counted by person: a message to five people counts five times. Forwarded mails count, too.")
        self.fields["daily_limit"].help_text = help_text
        self.fields["mail_domains"].disabled = not self.person.is_superuser
        rules = MailRules.from_document(self.instance.mapping)
        self.initial.update({name: getattr(rules, name) for name in RULE_FIELDS})

    def clean_attachments(self) -> tuple[str, ...]:
        types: tuple[str, ...] = self.cleaned_data["attachments"]
        if wrong := [one for one in types if not _EXTENSION.fullmatch(one.lstrip("."))]:
            words = {"word": wrong[0][:20], "example": ", ".join(EXTENSIONS[:3])}
            raise ValidationError(_("“%(word)s” is no file type. Write for example %(example)s."), params=words)
        return tuple(dict.fromkeys(one.lstrip(".") for one in types))

    def clean_networks(self) -> tuple[str, ...]:
        networks: tuple[str, ...] = self.cleaned_data["networks"]
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                sentence = _("“%(word)s” is no network. Write for example 10.1.0.0/16.")
                raise ValidationError(sentence, params={"word": network[:60]}) from error
        return networks

    def clean_mail_domains(self) -> tuple[str, ...]:
        domains: tuple[str, ...] = self.cleaned_data["mail_domains"]
        for domain in domains:
            validate_domain_name(domain)
        return domains

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        mails = cleaned.get("forward") or cleaned.get("tells_sender")
        if mails and not cleaned.get("mail_domains") and "mail_domains" not in self.errors:
            self.add_error("mail_domains", _("Name the domains to which mails may go."))
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()
        if not self.errors:
            self.instance.mapping = MailRules(**{name: self.cleaned_data[name] for name in RULE_FIELDS}).to_document()


MAIL_FIELDSETS = [
    (None, {"fields": ("name", "is_enabled", "corp")}),
    (
        _("What is sent"),
        {"fields": ("takes_text", "takes_picture", "attachments", "footers", "form", "priority", "lifetime_hours")},
    ),
    (
        _("Who may get it"),
        {"fields": ("reach", "departments", "users", "groups", "with_subdepartments", "daily_limit")},
    ),
    (
        _("Notification and forwarding by mail"),
        {"classes": ("collapse",), "fields": ("tells_sender", "forward", "mail_domains")},
    ),
    (_("Allowed origins"), {"classes": ("collapse",), "fields": ("networks",)}),
]


def is_door_open() -> bool:
    """Return whether a mail server of ours ("mail door") is running."""
    return Heartbeat.objects.filter(
        kind=Heartbeat.Kind.MAIL, beat_at__gt=Now() - timedelta(seconds=STALE_SECONDS)
    ).exists()
