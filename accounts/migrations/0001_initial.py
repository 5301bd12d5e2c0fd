"""All tables of accounts as of 1.1.0.

The database itself refuses to change entries of the audit trail, but for clearing the mark of those that a syslog
server has got, to delete them but for those that are too old, and to empty their table. Who has the database's own rights can take this away; nobody who has the product's can.
"""

import django.contrib.auth.models
import django.contrib.auth.validators
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import integrations.models.fields
from django.conf import settings
from django.db import migrations, models


APPEND_ONLY = """
CREATE FUNCTION accounts_auditentry_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('guanwecom.removes_old_audit', true) = 'on' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.is_unsent AND NOT NEW.is_unsent THEN
        NEW.is_unsent := true;
        IF NEW *= OLD THEN -- the same bytes in all columns
            NEW.is_unsent := false;
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_auditentry
FOR EACH ROW EXECUTE FUNCTION accounts_auditentry_is_append_only();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON accounts_auditentry
FOR EACH STATEMENT EXECUTE FUNCTION accounts_auditentry_is_append_only();
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('axes', '0010_accessattemptexpiration'),
        ('integrations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Lockout',
            fields=[
            ],
            options={
                'verbose_name': 'wrong passwords',
                'verbose_name_plural': 'wrong passwords',
                'proxy': True,
                'default_permissions': ('view', 'delete'),
                'indexes': [],
                'constraints': [],
            },
            bases=('axes.accessattempt',),
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('name', models.CharField(blank=True, max_length=64, verbose_name='full name')),
                ('mobile', models.CharField(blank=True, max_length=32, verbose_name='mobile')),
                ('manages_all_corps', models.BooleanField(default=False, help_text='Sees every WeCom company in the administration.', verbose_name='manages all companies')),
                ('made_username', models.CharField(blank=True, db_default='', default='', editable=False, max_length=150)),
                ('session_epoch', models.PositiveIntegerField(default=0, editable=False)),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('managed_corps', models.ManyToManyField(blank=True, help_text='Sees only these WeCom companies in the administration.', related_name='+', to='integrations.corp', verbose_name='manages companies')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'permissions': [('assign_roles', 'Can hand out roles')],
                'indexes': [models.Index(django.db.models.functions.text.Lower('username'), name='users_by_folded_username'), models.Index(django.db.models.functions.text.Lower('email'), condition=models.Q(('email', ''), _negated=True), name='users_by_folded_email'), models.Index(condition=models.Q(('mobile', ''), _negated=True), fields=['mobile'], name='users_by_mobile'), models.Index(condition=models.Q(('name', ''), _negated=True), fields=['name'], name='users_by_name')],
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='Attribute',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text='By which files and rules name it. Cannot be changed later.', max_length=40, unique=True, validators=[django.core.validators.RegexValidator('^[a-z][a-z0-9_]*\\Z', 'Lower-case letters, digits and _, a letter first.')], verbose_name='attribute key')),
                ('name', models.CharField(max_length=64, unique=True, verbose_name='name')),
                ('kind', models.CharField(choices=[('text', 'text'), ('number', 'number'), ('choice', 'one of a list')], default='text', max_length=8, verbose_name='kind')),
                ('is_many_valued', models.BooleanField(default=False, help_text='A person may have more than one, such as several regions.', verbose_name='several values')),
                ('choices', models.JSONField(blank=True, default=list, verbose_name='choices')),
                ('description', models.CharField(blank=True, max_length=255, verbose_name='description')),
                ('is_unique', models.BooleanField(default=False, help_text='Such as an employee number.', verbose_name='each value belongs to one person')),
                ('is_employee_number', models.BooleanField(default=False, help_text='The directory may find people by it. Then each value belongs to one person.', verbose_name='employee number')),
                ('is_bi_login_id', models.BooleanField(default=False, help_text='As whom a person enters the BI. One attribute at most; its values are set by administrators of all companies only.', verbose_name='loginId of the BI')),
                ('position', models.PositiveSmallIntegerField(default=100, verbose_name='order')),
            ],
            options={
                'verbose_name': 'user attribute',
                'verbose_name_plural': 'user attributes',
                'ordering': ['position', 'name'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('is_bi_login_id', True)), fields=('is_bi_login_id',), name='one_bi_login_id')],
            },
        ),
        migrations.CreateModel(
            name='AttributeValue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField(default=0)),
                ('value', models.CharField(max_length=255)),
                ('folded', models.CharField(editable=False, max_length=255)),
                ('is_unique', models.BooleanField(default=False, editable=False)),
                ('attribute', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='values', to='accounts.attribute')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='attribute_values', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'value of a user attribute',
                'verbose_name_plural': 'values of user attributes',
                'default_permissions': (),
                'indexes': [models.Index(fields=['attribute', 'folded', 'user'], name='people_by_attribute_value')],
                'constraints': [models.UniqueConstraint(fields=('user', 'attribute', 'position'), name='attribute_values_by_user'), models.UniqueConstraint(condition=models.Q(('is_unique', True)), fields=('attribute', 'folded'), name='one_person_per_unique_value')],
            },
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='time')),
                ('actor_name', models.CharField(blank=True, max_length=255, verbose_name='administrator')),
                ('ip', models.GenericIPAddressField(null=True, verbose_name='IP address')),
                ('action', models.CharField(choices=[('created', 'created'), ('changed', 'changed'), ('deleted', 'deleted'), ('done', 'done'), ('signed-in', 'signed in'), ('sign-in-failed', 'sign-in failed'), ('locked-out', 'locked out'), ('unlocked', 'unlocked')], max_length=16, verbose_name='action')),
                ('model', models.CharField(blank=True, max_length=100, verbose_name='kind')),
                ('object_id', models.BigIntegerField(null=True)),
                ('subject', models.CharField(blank=True, max_length=255, verbose_name='what')),
                ('changes', models.JSONField(default=list, verbose_name='changes')),
                ('note', models.CharField(blank=True, max_length=500, verbose_name='note')),
                ('is_unsent', models.BooleanField(default=False, editable=False)),
                ('actor', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='administrator')),
                ('corp', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='integrations.corp', verbose_name='WeCom company name')),
            ],
            options={
                'verbose_name': 'audit entry',
                'verbose_name_plural': 'audit trail',
                'ordering': ['-pk'],
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['corp', '-id'], name='audit_by_corp'), models.Index(fields=['model', 'object_id', '-id'], name='audit_by_object'), models.Index(fields=['at'], name='audit_by_time'), models.Index(condition=models.Q(('is_unsent', True)), fields=['id', 'at'], name='audit_unsent')],
            },
        ),
        migrations.CreateModel(
            name='DepartmentGroup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('with_subdepartments', models.BooleanField(default=True, verbose_name='with the departments below it')),
                ('may_lend_rights', models.BooleanField(default=False, editable=False)),
                ('department', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='groups', to='integrations.department', verbose_name='department')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='auth.group', verbose_name='group')),
            ],
            options={
                'verbose_name': 'group of a department',
                'verbose_name_plural': 'groups of departments',
                'ordering': ['department__corp__name', 'pk'],
                'constraints': [models.UniqueConstraint(fields=('department', 'group'), name='one_row_per_department_and_group')],
            },
        ),
        migrations.CreateModel(
            name='DirectoryPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('mode', models.CharField(choices=[('off', 'off'), ('link', 'link people who are here already'), ('create', 'link, create and update people')], default='off', help_text="Off: nothing runs at night, and WeCom's directory has no effect on anybody here. People whom it has created, linked, or put into groups stay so when this is changed.", max_length=8, verbose_name='effect of the directory')),
                ('match_username', models.BooleanField(default=True, verbose_name='by username = WeCom account')),
                ('match_email', models.BooleanField(default=False, help_text='Works only where WeCom shows the app e-mail addresses.', verbose_name='by e-mail')),
                ('match_mobile', models.BooleanField(default=False, help_text='Works only where WeCom shows the app mobile numbers.', verbose_name='by mobile')),
                ('number_field', models.CharField(blank=True, help_text="The company's own field in WeCom's contacts that holds the employee number, by its exact name. The app must be allowed to see it. Empty: the WeCom account is the employee number.", max_length=64, verbose_name='field in WeCom')),
                ('leavers', models.CharField(choices=[('unlink', 'unlink them'), ('disable', 'unlink and disable them')], default='disable', help_text="Nobody is ever deleted here. People with another company's account are only unlinked.", max_length=8, verbose_name='people deleted in WeCom')),
                ('changed_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
                ('corp', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='directory_policy', to='integrations.corp', verbose_name='WeCom company name')),
                ('number_attribute', models.ForeignKey(blank=True, help_text='The user attribute that holds it. Only attributes that are marked as employee number.', limit_choices_to={'is_employee_number': True}, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.attribute', verbose_name='by employee number')),
            ],
            options={
                'verbose_name': 'directory policy',
                'verbose_name_plural': 'directory policies',
                'ordering': ['corp__name'],
                'default_permissions': ('view', 'add', 'change'),
            },
        ),
        migrations.CreateModel(
            name='GivenGroup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('corp', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='given_groups', to='integrations.corp')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='auth.group')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='given_groups', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'group given by a directory',
                'verbose_name_plural': 'groups given by directories',
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('corp', 'user', 'group'), name='one_given_group')],
            },
        ),
        migrations.CreateModel(
            name='PeopleImport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(choices=[('waiting', 'being checked'), ('asking', 'waits for your yes'), ('confirmed', 'being written'), ('done', 'done'), ('refused', 'cannot be read'), ('stopped', 'stopped, nothing changed'), ('discarded', 'discarded')], default='waiting', max_length=12, verbose_name='status')),
                ('mode', models.CharField(blank=True, choices=[('all', 'all or nothing'), ('skip', 'skip the refused rows')], max_length=8, verbose_name='refused rows')),
                ('file_name', models.CharField(max_length=255, verbose_name='file')),
                ('match_by', models.CharField(choices=[('username', 'username = account in the file'), ('email', 'e-mail'), ('mobile', 'mobile'), ('attribute', 'employee number')], default='username', max_length=12, verbose_name='people are found by')),
                ('clears_empty', models.BooleanField(default=False, verbose_name='empty cells clear what is there')),
                ('requested_by_name', models.CharField(max_length=255, verbose_name='administrator')),
                ('requested_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='uploaded')),
                ('confirmed_by_name', models.CharField(blank=True, max_length=255, verbose_name='confirmed by')),
                ('confirmed_from', models.GenericIPAddressField(editable=False, null=True)),
                ('confirmed_at', models.DateTimeField(null=True, verbose_name='confirmed at')),
                ('finished_at', models.DateTimeField(null=True, verbose_name='finished')),
                ('layout', models.CharField(blank=True, editable=False, max_length=8)),
                ('titles', models.JSONField(default=list, editable=False)),
                ('row_count', models.PositiveIntegerField(default=0, verbose_name='rows')),
                ('counts', models.JSONField(default=dict, editable=False)),
                ('reason', models.CharField(blank=True, editable=False, max_length=32)),
                ('words', models.JSONField(default=dict, editable=False)),
                ('confirmed_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('corp', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='integrations.corp', verbose_name='WeCom company name')),
                ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'import of people',
                'verbose_name_plural': 'imports of people',
                'ordering': ['-pk'],
                'default_permissions': ('view', 'add'),
            },
        ),
        migrations.CreateModel(
            name='ImportRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(verbose_name='row')),
                ('outcome', models.CharField(choices=[('change', 'would change'), ('refused', 'refused'), ('applied', 'changed')], max_length=8, verbose_name='outcome')),
                ('user_id', models.BigIntegerField(null=True)),
                ('name', models.CharField(max_length=255, verbose_name='person')),
                ('cells', models.JSONField(default=dict)),
                ('changes', models.JSONField(default=list)),
                ('reason', models.CharField(blank=True, max_length=32)),
                ('words', models.JSONField(default=dict)),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='rows', to='accounts.peopleimport')),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['run', 'outcome', 'number'], name='import_rows_by_outcome')],
            },
        ),
        migrations.CreateModel(
            name='LinkConflict',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(choices=[('nobody', 'nobody here fits'), ('several', 'several people here fit'), ('shared', 'several members share the e-mail or mobile'), ('other_account', 'the person has another WeCom account of this company'), ('other_company', 'the person belongs to another company'), ('protected', 'the person may enter the administration: link by hand'), ('password_only', 'the person signs in with a password only: link by hand'), ('disabled', 'the person is disabled here'), ('username_taken', 'somebody else has this username'), ('company_missing', 'somebody has this WeCom account without a company'), ('came_back', 'this WeCom account had been deleted: it may be another person now')], max_length=16, verbose_name='reason')),
                ('since', models.DateTimeField(verbose_name='since')),
                ('member', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='link_conflict', to='integrations.member', verbose_name='member')),
            ],
            options={
                'verbose_name': 'person of WeCom who is not linked',
                'verbose_name_plural': 'Not linked with WeCom',
                'ordering': ['pk'],
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['reason', 'id'], name='conflicts_by_reason')],
            },
        ),
        migrations.CreateModel(
            name='SignedInSession',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('session_key', models.CharField(max_length=40, unique=True)),
                ('user_agent', models.CharField(blank=True, max_length=255)),
                ('began_at', models.DateTimeField()),
                ('last_used_at', models.DateTimeField()),
                ('corp', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='integrations.corp')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'session',
                'verbose_name_plural': 'sessions',
                'default_permissions': (),
                'indexes': [models.Index(models.F('user'), models.OrderBy(models.F('last_used_at'), descending=True), name='session_of_person'), models.Index(fields=['last_used_at'], name='session_last_used')],
            },
        ),
        migrations.CreateModel(
            name='SignInPolicy',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('password_enabled', models.BooleanField(default=True, help_text='Off: everybody signs in with WeCom, administrators too.', verbose_name='sign-in with a password')),
                ('changed_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
            ],
            options={
                'verbose_name': 'sign-in policy',
                'verbose_name_plural': 'sign-in policy',
                'default_permissions': ('view', 'change'),
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='one_sign_in_policy')],
            },
        ),
        migrations.CreateModel(
            name='TotpDevice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', integrations.models.fields.EncryptedTextField(verbose_name='key')),
                ('confirmed_at', models.DateTimeField(verbose_name='set up')),
                ('is_independent', models.BooleanField(db_default=False, default=False)),
                ('last_counter', models.BigIntegerField(default=0)),
                ('failed_count', models.PositiveIntegerField(default=0)),
                ('failed_at', models.DateTimeField(null=True)),
                ('recovery_digests', models.JSONField(default=list)),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'authenticator app',
                'verbose_name_plural': 'authenticator apps',
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='WeComAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('userid', models.CharField(blank=True, help_text="The account in WeCom's contacts: neither the WeChat ID nor the display name.", max_length=64, verbose_name='WeCom account')),
                ('userid_folded', models.CharField(blank=True, editable=False, max_length=64)),
                ('is_primary', models.BooleanField(default=True, help_text='Of several accounts of one person, messages go to this one.', verbose_name='receives messages')),
                ('proven_corp_id', models.BigIntegerField(editable=False, null=True)),
                ('proven_userid', models.CharField(blank=True, editable=False, max_length=64)),
                ('signed_in_at', models.DateTimeField(editable=False, null=True, verbose_name='last sign-in with WeCom')),
                ('left_at', models.DateTimeField(editable=False, null=True)),
                ('corp', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='wecom_accounts', to='integrations.corp', verbose_name='WeCom company name')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='wecom_accounts', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'WeCom account',
                'verbose_name_plural': 'WeCom accounts',
                'constraints': [models.UniqueConstraint(condition=models.Q(('userid_folded', ''), _negated=True), fields=('corp', 'userid_folded'), name='one_account_per_wecom_identity'), models.UniqueConstraint(condition=models.Q(('is_primary', True)), fields=('user',), name='one_primary_account_per_user'), models.CheckConstraint(condition=models.Q(('left_at__isnull', True), ('userid_folded', ''), _connector='OR'), name='no_userid_once_the_person_left')],
            },
        ),
        migrations.RunSQL([APPEND_ONLY]),
    ]
