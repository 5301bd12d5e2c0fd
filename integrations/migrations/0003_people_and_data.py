"""Labels and help texts that say person and data. The database does not change."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('integrations', '0002_plain_labels'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='card',
            options={'ordering': ('name', 'pk'), 'verbose_name': 'data', 'verbose_name_plural': 'data'},
        ),
        migrations.AlterModelOptions(
            name='carddata',
            options={'default_permissions': (), 'verbose_name': 'fetched data', 'verbose_name_plural': 'fetched data'},
        ),
        migrations.AlterField(
            model_name='carddata',
            name='card',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='answers', to='integrations.card', verbose_name='data'),
        ),
    ]

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Change the state alone. With rendered models Django would render them anew for each label."""
        project_state.__dict__.pop('apps', None)
        return self.mutate_state(project_state, preserve=False)
