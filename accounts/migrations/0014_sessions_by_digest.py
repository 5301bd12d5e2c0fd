"""Sessions are kept under digests of their keys: those that stand under the keys themselves are over."""

from django.db import migrations


def end_all(apps, _schema_editor):
    apps.get_model("accounts", "SignedInSession").objects.all().delete()
    apps.get_model("sessions", "Session").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("accounts", "0013_rights_without_passwords"), ("sessions", "0001_initial")]

    operations = [migrations.RunPython(end_all, migrations.RunPython.noop)]
