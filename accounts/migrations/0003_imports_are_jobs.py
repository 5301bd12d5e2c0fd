from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_sheets_are_jobs'),
    ]

    operations = [
        # Only the state forgets these: processes of the last release use them until the upgrade is over.
        migrations.AlterField(
            model_name='peopleimport',
            name='lease_token',
            field=models.CharField(blank=True, db_default='', editable=False, max_length=32),
        ),
        migrations.AlterField(
            model_name='peopleimport',
            name='try_count',
            field=models.PositiveSmallIntegerField(db_default=0, editable=False),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex(
                    model_name='peopleimport',
                    name='claimable_people_imports',
                ),
                migrations.RemoveField(
                    model_name='peopleimport',
                    name='lease_token',
                ),
                migrations.RemoveField(
                    model_name='peopleimport',
                    name='lease_until',
                ),
                migrations.RemoveField(
                    model_name='peopleimport',
                    name='try_count',
                ),
            ],
        ),
        migrations.AlterField(
            model_name='peopleimport',
            name='status',
            field=models.CharField(choices=[('waiting', 'being checked'), ('asking', 'waits for your yes'), ('confirmed', 'being written'), ('done', 'done'), ('refused', 'cannot be read'), ('stopped', 'stopped, nothing changed'), ('discarded', 'discarded')], default='waiting', max_length=12, verbose_name='status'),
        ),
    ]
