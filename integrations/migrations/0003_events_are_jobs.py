from django.db import migrations, models
from django.db.models import Q

STATUSES = [("waiting", "waiting"), ("done", "done"), ("failed", "given up")]
WAITING = {"fields": ["corp", "consumer", "next_try_at"], "condition": Q(status="waiting"), "name": "waiting_events"}
GIVEN_UP = {"fields": ["corp"], "condition": Q(status="failed"), "name": "given_up_events"}


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0002_remove_results_of_verification_files"),
    ]

    operations = [
        migrations.AddField("corp", "people_event_at", models.DateTimeField(editable=False, null=True)),
        migrations.RemoveField("syncrun", "done_count"),
        migrations.RemoveField("syncrun", "total_count"),
        migrations.AddField("syncrun", "applied_counts", models.JSONField(default=dict)),
        migrations.AddField("syncrun", "applied_count", models.PositiveIntegerField(default=0)),
        migrations.AddField("syncrun", "applied_at", models.DateTimeField(null=True)),
        migrations.RemoveField("syncrun", "answered_by"),
        migrations.RemoveField("syncrun", "source"),
        migrations.RemoveField("syncchange", "fields"),
        migrations.RemoveField("membership", "is_leader"),
        migrations.DeleteModel("EventLane"),
        migrations.DeleteModel("EventWork"),
        migrations.AddField("callbackevent", "consumer", models.CharField(blank=True, max_length=64, default="")),
        migrations.AddField(
            "callbackevent",
            "status",
            models.CharField("status", blank=True, choices=STATUSES, max_length=16, default=""),
        ),
        migrations.AddField("callbackevent", "try_count", models.PositiveIntegerField("tries", default=0)),
        migrations.AddField("callbackevent", "next_try_at", models.DateTimeField("next try", null=True)),
        migrations.AddField("callbackevent", "touched", models.JSONField(default=list)),
        migrations.AddField(
            "callbackevent", "problem", models.CharField("problem", blank=True, max_length=255, default="")
        ),
        migrations.AddIndex("callbackevent", models.Index(**WAITING)),
        migrations.AddIndex("callbackevent", models.Index(**GIVEN_UP)),
    ]
