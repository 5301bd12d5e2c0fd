"""User attributes that administrators define, and people's values. The two WeCom attributes are in WeComAccount."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from integrations.data.figures import fold_text

VALUE_CHARACTERS = 255
# Limit for the values of one person in one attribute.
VALUES_AT_MOST = 100
CHOICES_AT_MOST = 500
# Limit for the digits before the point, and for those after it.
NUMBER_DIGITS = 30
# Separators between the values of a many-valued attribute in one text.
SEPARATORS = re.compile(r"[;；\r\n]+")  # the Chinese semicolon is meant

# Sentences that say why a value is refused, by code. An import stores code and parameters, and the page translates them
# into its reader's language.
REFUSALS = {
    "one_value": _("“%(name)s” takes only one value."),
    "many_values": _("At most %(count)d values."),
    "long": _("At most %(count)d characters."),
    "invisible": _("The value contains invisible characters."),
    "separator": _("Semicolons separate values, so no value can contain one."),
    "no_choice": _("“%(value)s” is not among the choices."),
    "no_number": _("“%(value)s” is not a number."),
    "long_number": _("“%(value)s” is not a number of at most 30 digits."),
}


def _make_error(code: str, **params: str | int) -> ValidationError:
    return ValidationError(REFUSALS[code], code=code, params=params)


class AttributeQuerySet(models.QuerySet["Attribute"]):
    def employee_numbers(self) -> Self:
        """Keep attributes that hold employee numbers, by which the directory may find people."""
        return self.filter(is_employee_number=True)

    def bi_login_ids(self) -> Self:
        """Keep the attribute with people's loginId in the BI, if there is one."""
        return self.filter(is_bi_login_id=True)

    def by_name(self) -> Self:
        return self.order_by("position", "name")


class Attribute(models.Model):
    """The definition of an attribute. A person's company is not an attribute: see WeComAccount."""

    class Kind(models.TextChoices):
        TEXT = "text", _("text")
        NUMBER = "number", pgettext_lazy("kind of an attribute", "number")
        CHOICE = "choice", _("choice from a list")

    key = models.CharField(
        _("attribute key"),
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"^[a-z][a-z0-9_]*\Z", _("A lower-case letter, then letters, digits and _."))],
        help_text=_("The name that files and rules use for it. It cannot be changed later."),
    )
    name = models.CharField(_("name"), max_length=64, unique=True)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices, default=Kind.TEXT)
    is_many_valued = models.BooleanField(
        _("several values"), default=False, help_text=_("For example several regions of one person.")
    )
    # The choices of a list, in order; empty for the other kinds.
    choices = models.JSONField(_("choices"), default=list, blank=True)
    description = models.CharField(_("description"), max_length=255, blank=True)
    is_unique = models.BooleanField(
        _("each value belongs to one person"), default=False, help_text=_("For example an employee number.")
    )
    is_employee_number = models.BooleanField(
        _("employee number"),
        default=False,
        help_text=_("The directory may find people by this attribute. Each value then belongs to one person."),
    )
    is_bi_login_id = models.BooleanField(
        _("loginId of the BI"),
        default=False,
        help_text=_(
            "The account with which a person opens the BI. Only one attribute can be marked, and only administrators "
            "of all companies can set its values."
        ),
    )
    position = models.PositiveSmallIntegerField(_("order"), default=100)

    objects = AttributeQuerySet.as_manager()

    class Meta:
        verbose_name = pgettext_lazy("list", "attribute")
        verbose_name_plural = pgettext_lazy("list", "attributes")
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint(fields=["is_bi_login_id"], condition=Q(is_bi_login_id=True), name="one_bi_login_id")
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.kind == self.Kind.CHOICE and not self.choices:
            raise ValidationError({"choices": _("Enter at least one choice, one per line.")})
        if self.is_employee_number and not self.is_unique:
            raise ValidationError({"is_unique": _("An employee number belongs to one person.")})
        if self.is_bi_login_id and self.is_many_valued:
            raise ValidationError({"is_many_valued": _("A person has one loginId in the BI.")})

    def clean_values(self, texts: Iterable[str]) -> list[str]:
        """Return `texts` as they are stored: stripped, without empty and repeated ones, numbers in plain digits. Raises
        ValidationError with a code of REFUSALS."""
        cleaned = (self._clean_value(text) for text in texts)
        values = list({fold_value(value): value for value in cleaned if value}.values())
        if len(values) > 1 and not self.is_many_valued:
            raise _make_error("one_value", name=self.name)
        if len(values) > VALUES_AT_MOST:
            raise _make_error("many_values", count=VALUES_AT_MOST)
        return values

    def split_values(self, text: str) -> list[str]:
        """Split a text at semicolons if the attribute is many-valued."""
        return SEPARATORS.split(text) if self.is_many_valued else [text]

    def _clean_value(self, text: str) -> str:
        """Return one value as it is stored, empty for blank text. Raises ValidationError with a code of REFUSALS."""
        value = text.strip()
        if not value:
            return ""
        if len(value) > VALUE_CHARACTERS:
            raise _make_error("long", count=VALUE_CHARACTERS)
        if not value.isprintable():
            raise _make_error("invisible")
        if self.is_many_valued and SEPARATORS.search(value):
            raise _make_error("separator")
        if self.kind == self.Kind.NUMBER:
            # A number is stored in plain digits: "1,200.50" gives "1200.5".
            try:
                number = Decimal(value.replace(",", ""))
            except InvalidOperation:
                raise _make_error("no_number", value=value[:64]) from None
            exponent = number.as_tuple().exponent
            if not isinstance(exponent, int) or number.adjusted() >= NUMBER_DIGITS or exponent < -NUMBER_DIGITS:
                raise _make_error("long_number", value=value[:64])
            plain = f"{number:f}"
            plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
            return "0" if plain in {"-0", ""} else plain
        if self.kind != self.Kind.CHOICE:
            return value
        # Use the spelling of the choice.
        choice: str | None = {fold_value(choice): choice for choice in self.choices}.get(fold_value(value))
        if choice is None:
            raise _make_error("no_choice", value=value[:64])
        return choice


class AttributeValueQuerySet(models.QuerySet["AttributeValue"]):
    def of(self, attribute: Attribute) -> Self:
        return self.filter(attribute=attribute)

    def among(self, values: Iterable[str]) -> Self:
        return self.filter(folded__in={fold_value(value) for value in values})


class AttributeValue(models.Model):
    """One value that a person has for an attribute. Only accounts.users.attributes writes it, with audit entries."""

    # Neither key has an index of its own: the constraint and the index below begin with them.
    user = models.ForeignKey("User", on_delete=models.CASCADE, related_name="attribute_values", db_index=False)
    attribute = models.ForeignKey(Attribute, on_delete=models.CASCADE, related_name="values", db_index=False)
    # The place among several values, from 0.
    position = models.PositiveSmallIntegerField(default=0)
    value = models.CharField(max_length=VALUE_CHARACTERS)
    folded = models.CharField(max_length=VALUE_CHARACTERS, editable=False)
    # A copy of the attribute's flag: a constraint cannot look into another table.
    is_unique = models.BooleanField(default=False, editable=False)

    objects = AttributeValueQuerySet.as_manager()

    class Meta:
        verbose_name = _("value of an attribute")
        verbose_name_plural = _("values of attributes")
        default_permissions = ()
        constraints = [
            # Serves the page of one person.
            models.UniqueConstraint(fields=["user", "attribute", "position"], name="attribute_values_by_user"),
            models.UniqueConstraint(
                fields=["attribute", "folded"], condition=Q(is_unique=True), name="one_person_per_unique_value"
            ),
        ]
        indexes = [
            # Serves look-ups of people by values, and of all values of one attribute.
            models.Index(fields=["attribute", "folded", "user"], name="people_by_attribute_value"),
        ]

    def __str__(self) -> str:
        return self.value


# The form in which values are compared; the same as for all other data.
fold_value = fold_text
