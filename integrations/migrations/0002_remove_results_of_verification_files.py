"""The diagnosis alone says whether a verification file answers."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial")]
    operations = [
        migrations.RemoveField("verificationfile", name) for name in ("checked_at", "checked_url", "detail", "outcome")
    ]
