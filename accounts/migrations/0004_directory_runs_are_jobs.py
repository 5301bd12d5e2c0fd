from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_imports_are_jobs'),
    ]

    operations = [
        # Only the state forgets these: processes of the last release use them until the upgrade is over.
        migrations.AlterField(
            model_name='peoplerun',
            name='lease_token',
            field=models.CharField(blank=True, db_default='', editable=False, max_length=32),
        ),
        migrations.AlterField(
            model_name='peoplerun',
            name='try_count',
            field=models.PositiveSmallIntegerField(db_default=0, editable=False),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex(
                    model_name='peoplerun',
                    name='claimable_people_runs',
                ),
                migrations.RemoveField(
                    model_name='peoplerun',
                    name='lease_token',
                ),
                migrations.RemoveField(
                    model_name='peoplerun',
                    name='lease_until',
                ),
                migrations.RemoveField(
                    model_name='peoplerun',
                    name='try_count',
                ),
            ],
        ),
    ]
