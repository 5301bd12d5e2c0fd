from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0001_initial'),
    ]

    operations = [
        # Only the state forgets these: processes of the last release use them until the upgrade is over.
        migrations.AlterField(
            model_name='inboundfetch',
            name='lease_token',
            field=models.CharField(blank=True, db_default='', editable=False, max_length=32),
        ),
        migrations.AlterField(
            model_name='inboundfetch',
            name='try_count',
            field=models.PositiveSmallIntegerField(db_default=0),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex(
                    model_name='inboundfetch',
                    name='inbound_fetch_free',
                ),
                migrations.RemoveField(
                    model_name='inboundfetch',
                    name='lease_token',
                ),
                migrations.RemoveField(
                    model_name='inboundfetch',
                    name='lease_until',
                ),
                migrations.RemoveField(
                    model_name='inboundfetch',
                    name='try_count',
                ),
            ],
        ),
    ]
