#!/usr/bin/env bash
# migrate.sh [--dry-run] [PSQL_ARGS...]: ALTER EXTENSION reflex UPDATE in one
# database, saying from which version to which.
#
#   --dry-run  says what would be done, and does it not
#
# The database is that of the PG* environment variables, or of the arguments,
# which go to psql as they are: scripts/migrate.sh -h db1 -d shop.  The new
# files must be installed there (make install), and where the library has
# changed the server is to be restarted.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dry_run=
args=()
for arg in "$@"; do
	case $arg in
		--dry-run) dry_run=1 ;;
		--help) help_of "$0"; exit ;;
		*) args+=("$arg") ;;
	esac
done

query()
{
	psql -X -q -A -t -v ON_ERROR_STOP=1 "${args[@]}" -c "$1"
}

command -v psql >/dev/null || die "psql is not installed"
where=$(query "select format('database %s as %s', current_database(), current_user)")
from=$(query "select extversion from pg_extension where extname = 'reflex'")
to=$(query "select default_version from pg_available_extensions where name = 'reflex'")
[ -n "$to" ] || die "$where: the files of reflex are not installed on this server"
[ -n "$from" ] || die "$where: reflex is not installed; CREATE EXTENSION reflex installs it"
if [ "$from" = "$to" ]; then
	say "$where: reflex is at $to; nothing to do"
	exit
fi
path=$(query "select path from pg_extension_update_paths('reflex') where source = '$from' and target = '$to'")
[ -n "$path" ] || die "$where: no way leads from reflex $from to $to"
say "$where: reflex $from -> $to (by ${path//--/ -> })"
if [ -n "$dry_run" ]; then
	say "dry run: nothing changed"
	exit
fi
query "alter extension reflex update to '$to'"
say "$where: reflex is at $(query "select extversion from pg_extension where extname = 'reflex'")"
