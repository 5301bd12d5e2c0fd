"""The default site address, in its initial state."""

from django.db import migrations


def add_default(apps, schema_editor):
    addresses = apps.get_model("integrations", "SiteAddress")
    addresses.objects.get_or_create(is_default=True, defaults={"url": "http://localhost:3001/"})


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial")]
    operations = [migrations.RunPython(add_default, migrations.RunPython.noop)]
