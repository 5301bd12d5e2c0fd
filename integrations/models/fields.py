"""Text columns that are encrypted at rest, userids as they are compared, and which rows a person may see."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
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

# Stands before the ciphertext in what dumpdata writes.
SEALED = "fernet:"
# What pages say in place of such a value.
UNREADABLE_NOTE = _("What is saved cannot be read with the present keys: enter it again.")


def fold_userid(userid: str) -> str:
    """Fold a userid to the form in which it is compared: without spaces around, in lower case, as WeCom does."""
    return userid.strip().lower()


def cipher() -> MultiFernet:
    """The cipher of settings.FIELD_ENCRYPTION_KEYS: the first key encrypts, every key decrypts."""
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


class Unreadable(str):
    """Stands for a stored text that no key opens: it is true and says nothing. Saved, it leaves what is stored."""

    __slots__ = ("sealed",)
    sealed: str

    def __new__(cls, sealed: str) -> Unreadable:
        text = super().__new__(cls, "(unreadable)")
        text.sealed = sealed
        return text

    def __getnewargs__(self) -> tuple[str]:
        return (self.sealed,)


def opened(text: str) -> str:
    """A value of an EncryptedTextField, to be used. Raises UnreadableSecretError."""
    if isinstance(text, Unreadable):
        message = "a stored secret cannot be read with the present FIELD_ENCRYPTION_KEYS"
        raise UnreadableSecretError(message, system="guanwecom", operation="decrypt", code=UNREADABLE_SECRET)
    return text


def encrypted_columns(model: type[models.Model]) -> list[str]:
    """The names of a model's columns of this kind, for `defer`: each is decrypted as its row is read."""
    return [column.name for column in model._meta.concrete_fields if isinstance(column, EncryptedTextField)]


def unreadable_names(row: models.Model) -> list[str]:
    """The labels of a row's columns that hold such a value; of deferred ones nothing is known."""
    values = {column: row.__dict__.get(column.attname) for column in row._meta.concrete_fields}
    return [str(column.verbose_name) for column, value in values.items() if isinstance(value, Unreadable)]


class EncryptedTextField(TextField):
    """Text, encrypted with settings.FIELD_ENCRYPTION_KEYS on its way into the database.

    An empty text stays empty. Each saving gives another ciphertext, so look-ups by value are refused.
    A value that no key opens is read as Unreadable, so that pages show it; whoever uses a value takes it by `opened`.
    Fixtures (dumpdata) hold ciphertext, which loaddata opens; one of plain text is loaded, too.
    """

    def get_prep_value(self, value: Any) -> Any:
        # Not TextField's own, which asks to_python: what is saved is a text, and never opened.
        text = models.Field.get_prep_value(self, value)
        if isinstance(text, Unreadable):
            return text.sealed
        return cipher().encrypt(str(text).encode()).decode() if text else text

    def value_to_string(self, obj: models.Model) -> str:
        """For serializers: sealed."""
        sealed: str = self.get_prep_value(self.value_from_object(obj))
        return f"{SEALED}{sealed}" if sealed else sealed

    def to_python(self, value: Any) -> Any:
        """For deserializers: opened."""
        text = super().to_python(value)
        if not isinstance(text, str) or not text.startswith(SEALED):
            return text
        try:
            return cipher().decrypt(text.removeprefix(SEALED).encode()).decode()
        except InvalidToken as error:
            raise ValidationError(f"{self.name}: no key of FIELD_ENCRYPTION_KEYS opens the value") from error

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Of a form: nobody enters a ciphertext, which would be opened for them."""
        if str(value or "").startswith(SEALED):
            raise ValidationError(_("This is a value that was exported encrypted. Enter the value itself."))
        return super().clean(value, model_instance)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        if not value:
            return value
        try:
            return cipher().decrypt(value.encode()).decode()
        except InvalidToken:
            return Unreadable(value)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise TypeError(f"{self.name} is encrypted: it cannot be searched by value")


Person = AbstractBaseUser | AnonymousUser
NOTHING = Q(pk__in=[])
# Not Q(), which joined by OR with a condition would be that condition.
EVERYTHING = ~NOTHING

# Asked for the condition on Corp that a person's view is limited to. Several are joined by AND.
corp_conditions: Hook[[Person], Q] = Hook()


def corp_condition(person: Person) -> Q:
    """The condition on Corp for what `person` may see; nothing as long as no app has registered a condition."""
    conditions = corp_conditions(person)
    return reduce(and_, conditions) if conditions else NOTHING
