from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('integrations', '0005_checks_are_jobs'),
    ]

    operations = [
        # Only the state forgets these: processes of the last release use them until the upgrade is over.
        migrations.AlterField(
            model_name='syncrun',
            name='lease_token',
            field=models.CharField(blank=True, db_default='', editable=False, max_length=32),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex(
                    model_name='syncrun',
                    name='claimable_sync_runs',
                ),
                migrations.RemoveField(
                    model_name='syncrun',
                    name='lease_token',
                ),
                migrations.RemoveField(
                    model_name='syncrun',
                    name='lease_until',
                ),
            ],
        ),
    ]
