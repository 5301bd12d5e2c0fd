"""Labels and help texts that say person and data. The database does not change."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_people_and_data'),
        ('integrations', '0003_people_and_data'),
        ('notifications', '0004_plain_labels'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='reportcard',
            options={'default_permissions': (), 'ordering': ['position', 'pk'], 'verbose_name': 'data', 'verbose_name_plural': 'data'},
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='card',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='integrations.card', verbose_name='data'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='users',
            field=models.ManyToManyField(blank=True, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='people'),
        ),
        migrations.AlterField(
            model_name='attributerule',
            name='attribute',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='subscription_rules', to='accounts.attribute', verbose_name='attribute'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='users',
            field=models.ManyToManyField(blank=True, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='people'),
        ),
        migrations.AlterField(
            model_name='incident',
            name='card',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='integrations.card', verbose_name='data'),
        ),
        migrations.AlterField(
            model_name='ownrowsrule',
            name='alias',
            field=models.CharField(help_text='Its name in templates.', max_length=32, verbose_name='data'),
        ),
        migrations.AlterField(
            model_name='ownrowsrule',
            name='attribute',
            field=models.ForeignKey(blank=True, help_text="Each person sees the rows in which this column holds one of the person's values.", null=True, on_delete=django.db.models.deletion.PROTECT, related_name='own_rows_rules', to='accounts.attribute', verbose_name='attribute'),
        ),
        migrations.AlterField(
            model_name='receipt',
            name='user',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='person'),
        ),
        migrations.AlterField(
            model_name='reportcard',
            name='card',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='report_cards', to='integrations.card', verbose_name='data'),
        ),
        migrations.AlterField(
            model_name='reportcard',
            name='title',
            field=models.CharField(blank=True, help_text='Shown above its table. Empty: the name of the data.', max_length=128, verbose_name='heading'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='alias',
            field=models.CharField(help_text='Its name in templates.', max_length=32, verbose_name='data'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='users',
            field=models.ManyToManyField(blank=True, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='people'),
        ),
    ]

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Change the state alone. With rendered models Django would render them anew for each label."""
        project_state.__dict__.pop('apps', None)
        return self.mutate_state(project_state, preserve=False)
