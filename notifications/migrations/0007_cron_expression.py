"""The schedule's field for any times is called a cron expression. The database does not change."""

from django.db import migrations, models

REPEAT = models.CharField(
    choices=[
        ("once", "once"),
        ("daily", "every day"),
        ("weekly", "on days of the week"),
        ("monthly", "once a month"),
        ("crontab", "at other times (cron expression)"),
    ],
    default="crontab",
    max_length=16,
    verbose_name="how often",
)
CRONTAB = models.CharField(
    blank=True,
    help_text="Minute, hour, day of month, month, day of week; * means each. For example 0 9 * * 1-5.",
    max_length=128,
    verbose_name="cron expression",
)


class Migration(migrations.Migration):
    dependencies = [("notifications", "0006_pause_after_failures")]

    operations = [
        migrations.AlterField(model, name, field.clone())
        for model in ("subscription", "alertrule")
        for name, field in (("repeat", REPEAT), ("crontab", CRONTAB))
    ]
