"""Encrypted text columns, the comparison form of userids, and the rows that a person may see."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from integrations.clients.errors import UNREADABLE_SECRET, UnreadableSecretError
from integrations.hooks import Hook

if TYPE_CHECKING:
    TextField = models.TextField[str, str]
else:
    TextField = models.TextField

# Prefix of the ciphertext in the output of dumpdata.
CIPHERTEXT_PREFIX = "fernet:"
# Shown by pages instead of an unreadable value.
UNREADABLE_NOTE = _("What is saved cannot be read with the present keys: enter it again.")


def fold_userid(userid: str) -> str:
    """Return the form in which userids are compared, as WeCom does: in lower case, without surrounding spaces."""
    return userid.strip().lower()


def get_cipher() -> MultiFernet:
    """Return the cipher of settings.FIELD_ENCRYPTION_KEYS: the first key encrypts, every key decrypts."""
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


class Unreadable(str):
    """A placeholder for a stored text that no key decrypts. It is truthy; saving it keeps the stored ciphertext."""

    __slots__ = ("ciphertext",)
    ciphertext: str

    def __new__(cls, ciphertext: str) -> Unreadable:
        text = super().__new__(cls, "(unreadable)")
        text.ciphertext = ciphertext
        return text

    def __getnewargs__(self) -> tuple[str]:
        return (self.ciphertext,)


def require_readable(text: str) -> str:
    """Return a value of an EncryptedTextField for use. Raises UnreadableSecretError."""
    if isinstance(text, Unreadable):
        message = "a stored secret cannot be read with the present FIELD_ENCRYPTION_KEYS"
        raise UnreadableSecretError(message, system="guanwecom", operation="decrypt", code=UNREADABLE_SECRET)
    return text


def list_encrypted_columns(model: type[models.Model]) -> list[str]:
    """Return the names of a model's encrypted columns, for `defer`: each is decrypted when its row is read."""
    return [column.name for column in model._meta.concrete_fields if isinstance(column, EncryptedTextField)]


def find_encrypted_columns() -> dict[type[models.Model], list[str]]:
    """Return the encrypted columns of every model of every app."""
    models_with_tables = [
        model for model in apps.get_models(include_auto_created=True) if model._meta.managed and not model._meta.proxy
    ]
    return {model: names for model in models_with_tables if (names := list_encrypted_columns(model))}


class EncryptedTextField(TextField):
    """A text column encrypted with settings.FIELD_ENCRYPTION_KEYS.

    An empty text stays empty. Each save makes another ciphertext, so look-ups by value are refused.
    A value that no key decrypts is read as Unreadable, so that pages can show it; `require_readable` refuses it.
    Fixtures (dumpdata) hold ciphertext, which loaddata decrypts; it also loads plain text.
    """

    def get_prep_value(self, value: Any) -> Any:
        # Not TextField's version, which calls to_python: the saved value is a text and never decrypted.
        text = models.Field.get_prep_value(self, value)
        if isinstance(text, Unreadable):
            return text.ciphertext
        return get_cipher().encrypt(str(text).encode()).decode() if text else text

    def value_to_string(self, obj: models.Model) -> str:
        """Return the ciphertext for serializers."""
        ciphertext: str = self.get_prep_value(self.value_from_object(obj))
        return f"{CIPHERTEXT_PREFIX}{ciphertext}" if ciphertext else ciphertext

    def to_python(self, value: Any) -> Any:
        """Decrypt the value for deserializers."""
        text = super().to_python(value)
        if not isinstance(text, str) or not text.startswith(CIPHERTEXT_PREFIX):
            return text
        try:
            return get_cipher().decrypt(text.removeprefix(CIPHERTEXT_PREFIX).encode()).decode()
        except InvalidToken as error:
            raise ValidationError(f"{self.name}: no key of FIELD_ENCRYPTION_KEYS opens the value") from error

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Refuse a ciphertext in a form, because it would be decrypted for whoever enters it."""
        if str(value or "").startswith(CIPHERTEXT_PREFIX):
            raise ValidationError(_("This is a value that was exported encrypted. Enter the value itself."))
        return super().clean(value, model_instance)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        if not value:
            return value
        try:
            return get_cipher().decrypt(value.encode()).decode()
        except InvalidToken:
            return Unreadable(value)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise TypeError(f"{self.name} is encrypted: it cannot be searched by value")


Person = AbstractBaseUser | AnonymousUser
NOTHING = Q(pk__in=[])
# Not Q(): joined by OR with a condition, it would be just that condition.
EVERYTHING = ~NOTHING

# Called for the condition on Corp that limits what a person may see. Several conditions are joined by AND.
corp_conditions: Hook[[Person], Q] = Hook()


def corp_condition(person: Person) -> Q:
    """Return the condition on Corp for the companies that `person` may see. No company is visible until an app has
    registered a condition."""
    conditions = corp_conditions(person)
    return reduce(and_, conditions) if conditions else NOTHING
