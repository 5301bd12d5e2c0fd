"""Pushes that are sent once, and trials on another person."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

REPEAT = models.CharField(
    choices=[
        ("once", "once"),
        ("daily", "every day"),
        ("weekly", "on days of the week"),
        ("monthly", "once a month"),
        ("crontab", "by a crontab"),
    ],
    default="crontab",
    max_length=16,
    verbose_name="how often",
)
ON_DATE = models.DateField(blank=True, null=True, verbose_name="on the day")


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("notifications", "0001_initial"),
    ]

    operations = [
        migrations.AddField("subscription", "on_date", ON_DATE),
        migrations.AddField("alertrule", "on_date", ON_DATE.clone()),
        migrations.AlterField("subscription", "repeat", REPEAT),
        migrations.AlterField("alertrule", "repeat", REPEAT.clone()),
        migrations.AlterField(
            "run",
            "trigger",
            models.CharField(
                choices=[
                    ("schedule", "schedule"),
                    ("manual", "by hand"),
                    ("trial", "trial"),
                    ("resend", "sent again"),
                    ("url", "by URL"),
                    ("data_update", "after a data update"),
                    ("notice", "notice to the owner"),
                    ("alert", "alert"),
                    ("message", "message of another system"),
                ],
                max_length=16,
                verbose_name="trigger",
            ),
        ),
        migrations.AddField(
            "run",
            "tried_on",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="tried on",
            ),
        ),
    ]
