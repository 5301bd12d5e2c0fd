"""The diagnosis alone says whether a verification file answers, and a company's form holds the noted addresses."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial")]
    operations = [
        *(migrations.RemoveField("verificationfile", name) for name in ("checked_at", "checked_url", "detail", "outcome")),
        migrations.RemoveField("checkrun", "requested_by"),
        migrations.RemoveField("checkrun", "started_at"),
        migrations.AlterField(
            "corp",
            "noted_ips",
            models.JSONField(
                blank=True,
                default=list,
                help_text="Separated by semicolons. Only needed where the network has several ways out, or before the "
                "first refusal.",
                verbose_name="public addresses of this server",
            ),
        ),
    ]
