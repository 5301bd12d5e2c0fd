import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        # Only the state forgets these tables: processes of the last release read them until the upgrade is over.
        # Nothing cascades to them any more, so their keys must not keep a person from being deleted.
        migrations.AlterField(
            model_name='peopleexport',
            name='requested_by',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel(
                    name='ExportFile',
                ),
                migrations.DeleteModel(
                    name='PeopleExport',
                ),
            ],
        ),
    ]
