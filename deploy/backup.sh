#!/bin/sh
# Makes a backup that is named after the time, and deletes the oldest of those that it made, so that BACKUPS_KEPT (14) stay.
# guanwecom-backup.timer runs it where systemd is. compose.yaml runs it with --nightly: then it stays, makes one each night
# after two, makes up for a night that was missed, and tries again after ten minutes where one failed.
set -eu
folder=/var/backups/guanwecom
export TZ="${TIME_ZONE:-${TZ:-Asia/Shanghai}}"

back_up() {
    guanwecom backup "$folder/nightly-$(date +%Y%m%d-%H%M%S).backup" || return 1
    find "$folder" -name 'nightly-*.backup' | sort -r | tail -n "+$((${BACKUPS_KEPT:-14} + 1))" | xargs -r rm --
}
# Whether a backup of the last $1 hours is there.
has_one() { find "$folder" -name 'nightly-*.backup' -mmin "-$(($1 * 60))" | grep -q .; }

[ "${1:-}" = --nightly ] || { back_up; exit; }
sleep 60 # the tables of a new installation are made meanwhile
while :; do
    if ! has_one 26 || { [ "$(date +%H)" = 02 ] && ! has_one 20; }; then back_up || true; fi
    sleep 600
done
