"""The index by which the log lists the people who were skipped for a reason."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # receipts are many: people go on writing while the index is made
    dependencies = [("notifications", "0002_once_and_trials")]

    operations = [
        AddIndexConcurrently(
            model_name="receipt",
            index=models.Index(
                fields=["reason", "-id"],
                condition=models.Q(("reason", ""), _negated=True),
                name="receipt_reason",
            ),
        ),
    ]
