#!/bin/sh
# Installs or upgrades guanwecom on this machine, as root: deploy/install.sh --site https://bi.example.com
# Run it in the unpacked bundle (no internet is needed) or in a clone. It may be run again at any time: what is there stays.
#
# It makes, in this order:
#   the user guanwecom, without rights and without a shell
#   /opt/guanwecom/releases/VERSION   code, .venv and static files of this version; older ones stay beside it
#   /etc/guanwecom/.env               the settings, with fresh keys (manage.py init_env); never changed afterwards
#   /etc/guanwecom/tls/               the certificate; one that is signed by itself until yours is put there
#   the tables in the database        manage.py upgrade; running processes of the last version keep working
#   /opt/guanwecom/current            the link to this version
#   /usr/local/bin/guanwecom          runs commands as that user
#   /var/backups/guanwecom            where a timer writes a backup each night
#   /etc/systemd/system/guanwecom*    the units
#   /etc/nginx/conf.d/guanwecom*      the site; it stays as it is where it is there
# and restarts what runs: one web after the other, workers after their messages.
set -eu

usage() {
    cat <<'USAGE'
usage: deploy/install.sh [--site URL] [--database URL] [--valkey URL] [--snapshots] [--no-nginx] [--no-start] [--dry-run]

  --site URL      the address at which people open the product; needed for the first installation
  --database URL  PostgreSQL; by default this machine's, over its socket: a user and a database guanwecom, made if missing
  --valkey URL    Valkey or Redis; by default redis://127.0.0.1:6379/0
  --snapshots     also the worker that takes pictures of the BI's pages, with Chromium; say it for every version
  --no-nginx      leave nginx alone
  --no-start      install everything, and start or restart nothing
  --dry-run       print every command, and run none

Needed: systemd, Python 3.11 to 3.14 with venv (PYTHON=/usr/bin/python3.13 chooses one), PostgreSQL 14 or newer and Valkey or
Redis somewhere, nginx and openssl here. Exit codes: 0 installed, 1 something failed, 2 wrong options or something is missing.
USAGE
}

prefix=/opt/guanwecom
settings=/etc/guanwecom
default_database='postgresql://guanwecom:@/guanwecom?host=/var/run/postgresql'
site='' database='' valkey='' dry_run='' upgrade='' snapshots='' new_timer='' nginx=yes start=yes
python=${PYTHON:-python3}

say() { printf '\n== %s\n' "$*"; }
refuse() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 2
}
# Runs a command, or prints it.
run() {
    if [ "$dry_run" ]; then
        printf '+ %s\n' "$*"
    else
        "$@"
    fi
}

read_options() {
    while [ $# -gt 0 ]; do
        case "$1" in
        --site | --database | --valkey)
            [ $# -ge 2 ] || refuse "$1 needs a value"
            eval "${1#--}=\$2"
            shift
            ;;
        --dry-run) dry_run=yes ;;
        --snapshots) snapshots=yes ;;
        --no-nginx) nginx='' ;;
        --no-start) start='' ;;
        --help | -h)
            usage
            exit 0
            ;;
        *) refuse "$1: no such option; --help lists them" ;;
        esac
        shift
    done
}

check_machine() {
    [ "$(id -u)" = 0 ] || [ "$dry_run" ] || refuse "run it as root"
    [ -f manage.py ] && [ -f requirements/charts.txt ] || refuse "run it from the bundle or a clone of guanwecom"
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null ||
        refuse "no Python 3.11 to 3.14; PYTHON=/path/to/python names one"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || refuse "Python has no venv; on Debian: apt install python3-venv"
    [ "$dry_run" ] || command -v systemctl >/dev/null || refuse "this machine has no systemd"
    [ "$dry_run" ] || [ ! "$nginx" ] || command -v nginx >/dev/null || refuse "nginx is missing; --no-nginx does without"
    [ "$dry_run" ] || [ ! "$snapshots" ] || command -v chromium >/dev/null || refuse "chromium is missing"
    [ ! "$snapshots" ] || [ ! -d wheels ] || [ -f requirements/snapshots.txt ] ||
        refuse "this bundle was made without --snapshots"
    if [ -f SHA256SUMS ]; then
        sha256sum --quiet --check SHA256SUMS || refuse "the bundle is damaged: its checksums do not match"
        "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$(cat PYTHON)')" ||
            refuse "the bundle is for Python $(cat PYTHON); PYTHON=/path/to/python names one"
    fi
    command -v pg_dump >/dev/null || echo "pg_dump is missing, so no backup can be made; on Debian: apt install postgresql-client"
    [ -f "$settings/.env" ] || [ "$site" ] || refuse "--site is needed for the first installation"
    [ -f "$settings/.env" ] || [ "$database" ] || [ "$dry_run" ] || [ -S /var/run/postgresql/.s.PGSQL.5432 ] ||
        refuse "no PostgreSQL runs on this machine; --database names another one"
}

# The commit of which this is built, as the bundle says or the clone.
commit() {
    if [ -f guanwecom/COMMIT ]; then
        cat guanwecom/COMMIT
    else
        git rev-parse HEAD 2>/dev/null | cut -c -7
    fi
}

# The version as the product calls it, and what tells two bundles of one commit apart.
version() {
    number=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
    built=$(commit)
    [ ! -f SHA256SUMS ] || sums=-$(sha256sum SHA256SUMS | cut -c -8)
    printf '%s%s%s\n' "$number" "${built:+"+g$built"}" "${sums:-}"
}

add_user() {
    say "user guanwecom"
    getent passwd guanwecom >/dev/null ||
        run useradd --system --user-group --home-dir "$prefix" --no-create-home --shell /usr/sbin/nologin guanwecom
}

# A version is whole once the file .installed stands in its folder; what was broken off before is made anew.
install_release() {
    say "version $(basename "$release") in $release"
    if [ -e "$release/.installed" ]; then
        echo "is there already"
        return
    fi
    run rm -rf "$release"
    run install -d -m 755 "$prefix" "$prefix/releases" "$release"
    run cp -R accounts deploy guanwecom integrations notifications "$release/"
    run cp manage.py gunicorn.conf.py pyproject.toml .env.example "$release/"
    [ "$dry_run" ] || commit >"$release/guanwecom/COMMIT"
    run "$python" -m venv "$release/.venv"
    pip_install requirements/charts.txt
    if [ -d wheels ]; then
        run cp -R staticfiles "$release/"
    else
        run install -D tools/catalogues.py "$release/tools/catalogues.py"
        run "$release/.venv/bin/python" "$release/tools/catalogues.py" compile
    fi
    # The guides, where they are built: web serves them to administrators.
    [ ! -d docs/_build/html ] || run cp -R --parents docs/_build/html "$release/"
    run ln -s "$settings/.env" "$release/.env"
    run "$release/.venv/bin/python" -m compileall -q "$release"
    run chmod -R go=rX "$release"
    run touch "$release/.installed"
}

# pip_install FILE: from the bundle's wheels, or from the internet.
pip_install() {
    set -- -r "$1"
    [ ! -d wheels ] || set -- --no-index --find-links wheels "$@"
    run "$release/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@"
}

install_snapshots() {
    [ "$snapshots" ] || return 0
    say "what takes pictures of pages"
    pip_install requirements/snapshots.txt
}

write_settings() {
    say "settings in $settings/.env"
    run install -d -m 755 "$settings"
    if [ -e "$settings/.env" ]; then
        echo "are there already, and stay"
    else
        run "$release/.venv/bin/python" "$release/manage.py" init_env --file "$settings/.env" \
            --site "$site" --database "${database:-$default_database}" --valkey "${valkey:-redis://127.0.0.1:6379/0}"
    fi
    run chown root:guanwecom "$settings/.env"
    run chmod 640 "$settings/.env"
}

place_certificate() {
    say "certificate in $settings/tls"
    run install -d -m 700 "$settings/tls"
    if [ -e "$settings/tls/site.pem" ]; then
        echo "is there already, and stays"
        return
    fi
    host=$(host_of_site)
    run openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
        -keyout "$settings/tls/site.key" -out "$settings/tls/site.pem"
    echo "signed by itself: put the real one, with its chain, into site.pem and its key into site.key; then nginx -s reload"
}

host_of_site() {
    if [ -f "$settings/.env" ]; then
        sed -n 's/^ALLOWED_HOSTS=\([^,:]*\).*/\1/p' "$settings/.env"
    else
        echo "$site" | sed 's|^[a-z]*://||; s|[:/].*||'
    fi
}

# as USER COMMAND…
as() {
    user=$1
    shift
    run setpriv --reuid "$user" --regid "$user" --init-groups "$@"
}

prepare_database() {
    say "database"
    if [ -z "$database" ] && { [ "$dry_run" ] || grep -qxF "DATABASE_URL=$default_database" "$settings/.env"; }; then
        lacks "SELECT 1 FROM pg_roles WHERE rolname = 'guanwecom'" && as postgres createuser guanwecom
        # A server that was installed without a locale makes databases that know no letters but English ones.
        lacks "SELECT 1 FROM pg_database WHERE datname = 'guanwecom'" \
            && as postgres createdb --owner guanwecom --encoding UTF8 --template template0 guanwecom
    fi
    as guanwecom "$release/.venv/bin/python" "$release/manage.py" upgrade --no-static
}

# Whether this machine's PostgreSQL answers the question $1 with nothing.
lacks() { [ "$dry_run" ] || [ -z "$(as postgres psql -tAc "$1" postgres)" ]; }

collect_static_files() {
    [ -d "$release/staticfiles" ] || run "$release/.venv/bin/python" "$release/manage.py" collectstatic --noinput --verbosity 0
}

# Whether an earlier version runs here, or is to run.
is_upgrade() { [ "$upgrade" ]; }

install_command() {
    say "command guanwecom, and its folder for backups"
    run install -m 755 deploy/guanwecom /usr/local/bin/guanwecom
    run install -d -m 700 /var/backups/guanwecom
    # Those from another machine belong to another number.
    run chown -R guanwecom:guanwecom /var/backups/guanwecom
}

install_units() {
    say "units of systemd"
    [ -e /etc/systemd/system/guanwecom-backup.timer ] || new_timer=yes
    run install -m 644 deploy/systemd/*.service deploy/systemd/*.socket deploy/systemd/*.target deploy/systemd/*.timer /etc/systemd/system/
    for part in deploy/systemd/*.d/*.conf; do
        run install -D -m 644 "$part" "/etc/systemd/system/${part#deploy/systemd/}"
    done
    run systemctl daemon-reload
    # Later versions leave alone what was disabled on this machine.
    is_upgrade || run systemctl enable --quiet guanwecom.target guanwecom-web.socket guanwecom-web@1 guanwecom-web@2 guanwecom-worker-urgent \
        guanwecom-worker guanwecom-worker-data guanwecom-worker-charts guanwecom-beat
    # Versions before 1.0.0 had no such timer.
    [ ! "$new_timer" ] || run systemctl enable --quiet guanwecom-backup.timer
    [ ! "$snapshots" ] || run systemctl enable --quiet guanwecom-worker-snapshots
}

install_site() {
    [ "$nginx" ] || return 0
    say "site of nginx"
    if [ -e /etc/nginx/conf.d/guanwecom.conf ]; then
        echo "is there already, and stays"
        return
    fi
    run install -m 644 deploy/nginx/guanwecom.conf /etc/nginx/conf.d/guanwecom.conf
    run install -m 644 deploy/nginx/upstream-systemd.conf /etc/nginx/conf.d/guanwecom-upstream.conf
    run sed -i "s/server_name _;/server_name $(host_of_site);/" /etc/nginx/conf.d/guanwecom.conf
    run nginx -t
}

start_all() {
    [ "$start" ] || return 0
    say "start"
    if is_upgrade; then
        # What ran runs the new version from now on: one web while the other serves, and workers after their messages, for
        # which nobody waits here.
        for web in $(systemctl list-units --plain --no-legend --state=active 'guanwecom-web@*' | cut -d ' ' -f 1); do
            run systemctl restart "$web"
        done
        run systemctl --no-block try-restart guanwecom-beat guanwecom-worker-urgent guanwecom-worker \
            guanwecom-worker-data guanwecom-worker-charts guanwecom-worker-snapshots guanwecom-mail-door
        [ ! "$new_timer" ] || run systemctl start guanwecom-backup.timer
    else
        run systemctl start guanwecom.target guanwecom-web.socket
    fi
    [ ! "$snapshots" ] || run systemctl start guanwecom-worker-snapshots
    [ ! "$nginx" ] || run systemctl reload-or-restart nginx
}

main() {
    cd "$(dirname "$0")/.."
    read_options "$@"
    check_machine
    release=$prefix/releases/$(version)
    upgrade=$(systemctl is-enabled guanwecom.target 2>/dev/null | grep -x enabled || true)
    add_user
    install_release
    install_snapshots
    write_settings
    collect_static_files
    place_certificate
    prepare_database
    run ln -sfn "$release" "$prefix/current"
    install_command
    install_units
    install_site
    start_all
    say "done"
    echo "The first administrator / 创建第一个管理员: guanwecom createsuperuser"
}

main "$@"
