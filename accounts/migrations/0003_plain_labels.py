"""Labels, help texts and choices in plain English. The database does not change."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_import_creates_people'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='linkconflict',
            options={'default_permissions': ('view',), 'ordering': ['pk'], 'verbose_name': 'WeCom member who is not linked', 'verbose_name_plural': 'Not linked with WeCom'},
        ),
        migrations.AlterField(
            model_name='attribute',
            name='is_bi_login_id',
            field=models.BooleanField(default=False, help_text='The account with which a person opens the BI. Only one attribute can be marked, and only administrators of all companies can set its values.', verbose_name='loginId of the BI'),
        ),
        migrations.AlterField(
            model_name='attribute',
            name='is_employee_number',
            field=models.BooleanField(default=False, help_text='The directory may find people by this attribute. Each value then belongs to one person.', verbose_name='employee number'),
        ),
        migrations.AlterField(
            model_name='attribute',
            name='is_many_valued',
            field=models.BooleanField(default=False, help_text='For example several regions of one person.', verbose_name='several values'),
        ),
        migrations.AlterField(
            model_name='attribute',
            name='is_unique',
            field=models.BooleanField(default=False, help_text='For example an employee number.', verbose_name='each value belongs to one person'),
        ),
        migrations.AlterField(
            model_name='attribute',
            name='key',
            field=models.CharField(help_text='The name that files and rules use for it. It cannot be changed later.', max_length=40, unique=True, validators=[django.core.validators.RegexValidator('^[a-z][a-z0-9_]*\\Z', 'A lower-case letter, then letters, digits and _.')], verbose_name='attribute key'),
        ),
        migrations.AlterField(
            model_name='attribute',
            name='kind',
            field=models.CharField(choices=[('text', 'text'), ('number', 'number'), ('choice', 'choice from a list')], default='text', max_length=8, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='departmentgroup',
            name='with_subdepartments',
            field=models.BooleanField(default=True, verbose_name='including its subdepartments'),
        ),
        migrations.AlterField(
            model_name='directorypolicy',
            name='leavers',
            field=models.CharField(choices=[('unlink', 'unlink them'), ('disable', 'unlink and disable them')], default='disable', help_text='Nobody is ever deleted here. People with an account of another company are only unlinked.', max_length=8, verbose_name='people deleted in WeCom'),
        ),
        migrations.AlterField(
            model_name='directorypolicy',
            name='match_email',
            field=models.BooleanField(default=False, help_text='Works only if WeCom shows e-mail addresses to the app.', verbose_name='by e-mail'),
        ),
        migrations.AlterField(
            model_name='directorypolicy',
            name='match_mobile',
            field=models.BooleanField(default=False, help_text='Works only if WeCom shows mobile numbers to the app.', verbose_name='by mobile'),
        ),
        migrations.AlterField(
            model_name='directorypolicy',
            name='mode',
            field=models.CharField(choices=[('off', 'off'), ('link', 'link existing people'), ('create', 'link, create and update people')], default='off', help_text="Off: nothing runs at night, and WeCom's directory changes nobody on this site. A change of this setting leaves people who were created, linked or put into groups as they are.", max_length=8, verbose_name='effect of the directory'),
        ),
        migrations.AlterField(
            model_name='directorypolicy',
            name='number_attribute',
            field=models.ForeignKey(blank=True, help_text='The attribute that holds it. Only attributes marked as employee number can be chosen.', limit_choices_to={'is_employee_number': True}, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.attribute', verbose_name='by employee number'),
        ),
        migrations.AlterField(
            model_name='directorypolicy',
            name='number_field',
            field=models.CharField(blank=True, help_text="The exact name of the company's own field in WeCom's contacts that holds the employee number. The app must be allowed to see this field. Empty: the WeCom account is the employee number.", max_length=64, verbose_name='field in WeCom'),
        ),
        migrations.AlterField(
            model_name='linkconflict',
            name='reason',
            field=models.CharField(choices=[('nobody', 'no matching person'), ('several', 'several matching people'), ('shared', 'several members share the e-mail or mobile'), ('other_account', 'the person has another WeCom account of this company'), ('other_company', 'the person belongs to another company'), ('protected', 'the person may enter the administration: link by hand'), ('password_only', 'the person signs in with a password only: link by hand'), ('disabled', 'the person is disabled here'), ('username_taken', 'somebody else has this username'), ('company_missing', 'somebody has this WeCom account, but no WeCom company'), ('came_back', 'this WeCom account was deleted before and may now belong to another person')], max_length=16, verbose_name='reason'),
        ),
        migrations.AlterField(
            model_name='peopleimport',
            name='clears_empty',
            field=models.BooleanField(default=False, verbose_name='empty cells clear existing values'),
        ),
        migrations.AlterField(
            model_name='peopleimport',
            name='status',
            field=models.CharField(choices=[('waiting', 'being checked'), ('asking', 'waits for your confirmation'), ('confirmed', 'being written'), ('done', 'done'), ('refused', 'cannot be read'), ('stopped', 'stopped, nothing changed'), ('discarded', 'discarded')], default='waiting', max_length=12, verbose_name='status'),
        ),
        migrations.AlterField(
            model_name='signinpolicy',
            name='password_enabled',
            field=models.BooleanField(default=True, help_text='Off: everybody signs in with WeCom, including administrators.', verbose_name='sign-in with a password'),
        ),
        migrations.AlterField(
            model_name='wecomaccount',
            name='is_primary',
            field=models.BooleanField(default=True, help_text='If a person has several accounts, messages go to this one.', verbose_name='receives messages'),
        ),
    ]

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Change the state alone. With rendered models Django would render them anew for each label."""
        project_state.__dict__.pop('apps', None)
        return self.mutate_state(project_state, preserve=False)
