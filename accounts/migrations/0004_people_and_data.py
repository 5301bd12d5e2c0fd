"""Labels and help texts that say person and data. The database does not change."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_plain_labels'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='attribute',
            options={'ordering': ['position', 'name'], 'verbose_name': 'attribute', 'verbose_name_plural': 'attributes'},
        ),
        migrations.AlterModelOptions(
            name='attributevalue',
            options={'default_permissions': (), 'verbose_name': 'value of an attribute', 'verbose_name_plural': 'values of attributes'},
        ),
        migrations.AlterModelOptions(
            name='user',
            options={'permissions': [('assign_roles', 'Can hand out roles')], 'verbose_name': 'person', 'verbose_name_plural': 'people'},
        ),
        migrations.AlterField(
            model_name='wecomaccount',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='wecom_accounts', to=settings.AUTH_USER_MODEL, verbose_name='person'),
        ),
    ]

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Change the state alone. With rendered models Django would render them anew for each label."""
        project_state.__dict__.pop('apps', None)
        return self.mutate_state(project_state, preserve=False)
