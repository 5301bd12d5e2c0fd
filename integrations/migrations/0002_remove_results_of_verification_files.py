"""The diagnosis alone says whether a verification file answers, and a company's form holds the noted addresses."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial")]
    operations = [
        *(migrations.RemoveField("verificationfile", name) for name in ("checked_at", "checked_url", "detail", "outcome")),
        migrations.RemoveField("checkrun", "requested_by"),
        migrations.RemoveField("checkrun", "started_at"),
        migrations.RunSQL(
            "DELETE FROM integrations_checkrun AS old USING integrations_checkrun AS new "
            "WHERE old.corp_id = new.corp_id AND old.check_name = new.check_name AND old.id < new.id"
        ),
        migrations.RemoveIndex("checkrun", "newest_check_runs"),
        migrations.AddConstraint(
            "checkrun", models.UniqueConstraint(fields=("corp", "check_name"), name="one_run_per_check")
        ),
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
