"""PostgreSQL counts the messages anew when a hundredth of them have changed, not a tenth. Until it has seen how many wait,
it reads the whole queue for each few that are claimed."""

from django.db import migrations

OPTIONS = "autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 1000"


def set_options(apps, schema_editor):
    schema_editor.execute(f"ALTER TABLE notifications_delivery SET ({OPTIONS})")


def reset_options(apps, schema_editor):
    options = "autovacuum_analyze_scale_factor, autovacuum_analyze_threshold"
    schema_editor.execute(f"ALTER TABLE notifications_delivery RESET ({options})")


class Migration(migrations.Migration):
    dependencies = [("notifications", "0007_drop_queue_index")]

    operations = [migrations.RunPython(set_options, reset_options)]
