"""The help text that says pause, as its label does. The database does not change."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0005_people_and_data'),
    ]

    operations = [
        migrations.AlterField(
            model_name='subscription',
            name='pauses_after_failures',
            field=models.PositiveSmallIntegerField(db_default=5, default=5, help_text='After this many runs in a row that reached nobody, the push is paused until somebody enables it again, and its owner is notified. Runs that wait for a company do not count. 0: never.', validators=[django.core.validators.MaxValueValidator(100)], verbose_name='pause after failed runs in a row'),
        ),
    ]

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Change the state alone. With rendered models Django would render them anew."""
        project_state.__dict__.pop('apps', None)
        return self.mutate_state(project_state, preserve=False)
