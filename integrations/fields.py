"""A text column that is encrypted at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    TextField = models.TextField[str, str]
else:
    TextField = models.TextField

# Stands before the ciphertext in what dumpdata writes.
SEALED = "fernet:"


def cipher() -> MultiFernet:
    """The cipher of settings.FIELD_ENCRYPTION_KEYS: the first key encrypts, every key decrypts."""
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


class EncryptedTextField(TextField):
    """Text, encrypted with settings.FIELD_ENCRYPTION_KEYS on its way into the database.

    An empty text stays empty. Each saving gives another ciphertext, so look-ups by value are refused.
    Reading a value that no key opens raises ImproperlyConfigured, naming the setting and never the value. Fixtures
    (dumpdata) hold ciphertext, which loaddata opens; one of plain text is loaded, too.
    """

    def get_prep_value(self, value: Any) -> Any:
        # Not TextField's own, which asks to_python: what is saved is a text, and never opened.
        text = models.Field.get_prep_value(self, value)
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
        except InvalidToken as error:
            message = f"{self.model.__name__}.{self.name}: no key of FIELD_ENCRYPTION_KEYS opens the stored value"
            raise ImproperlyConfigured(message) from error

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise TypeError(f"{self.name} is encrypted: it cannot be searched by value")
