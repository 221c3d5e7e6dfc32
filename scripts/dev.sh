#!/usr/bin/env bash
# dev.sh: a development server that rebuilds and restarts when a source changes.
#
#   dev.sh          starts it, and watches until Ctrl-C, which stops it
#   dev.sh --down   stops it from elsewhere
#   dev.sh --psql   psql in it
#   dev.sh --logs   follows its log
#   dev.sh --reset  stops it and throws its data away
#
# The data stay, linked from .dev/, from one time to the next.  The server listens on
# a socket only.  A change in C is built, installed and restarted; changed SQL
# functions are replayed into the database; for changed tables the extension
# has to be made anew, which dev.sh says and does not do by itself.
set -euo pipefail
# shellcheck source=scripts/install-deps.sh
. "$(dirname "${BASH_SOURCE[0]}")/install-deps.sh"

dev=$root/.dev

# Where the server's user may enter, and short enough for a socket's name.
find_place()
{
	find_pg_user
	mkdir -p "$dev"
	if [ ! -e "$dev/place" ]; then
		mktemp -d /var/tmp/reflex-dev.XXXXXX >"$dev/place"
		[ ${#as_pg[@]} -eq 0 ] || chown "$pg_user" "$(cat "$dev/place")"
	fi
	place=$(cat "$dev/place")
	[ ! -L "$dev/data" ] && ln -sfn "$place/data" "$dev/data"
	[ ! -L "$dev/server.log" ] && ln -sfn "$place/server.log" "$dev/server.log"
	[ -d "$place" ] || { rm -rf "$dev"; find_place; }
}

running()
{
	[ -e "$place/data/postmaster.pid" ] && "${as_pg[@]}" "$pg_bin/pg_ctl" status -s -D "$place/data" >/dev/null
}

stop()
{
	running || return 0
	"${as_pg[@]}" "$pg_bin/pg_ctl" stop -s -m fast -D "$place/data"
	say "stopped"
}

build_and_install()
{
	make -s -C "$root" -j"$(nproc)" COPT=-DUSE_ASSERT_CHECKING &&
		as_root make -s -C "$root" install COPT=-DUSE_ASSERT_CHECKING >/dev/null
}

start()
{
	[ -d "$place/data" ] || server_init "$place" <<-'CONF'
		reflex.allowed_hosts = '127.0.0.1'
		log_line_prefix = '%m [%p] %b '
	CONF
	server_start "$place"
	db "$place" -c 'create extension if not exists reflex' 2>/dev/null
}

# When one of the sources last changed; which one does not matter.
newest()
{
	find "$root/src" "$root/sql" "$root/Makefile" "$root/reflex.control" -type f \
		\( -name '*.[ch]' -o -name '*.sql' -o -name '*.mk' -o -name Makefile -o -name '*.control' \) \
		! -name 'reflex--*' -printf '%T@ %p\n' | sort | cksum
}

state_sum()
{
	(cd "$root" && sql_parts SQL_STATE | xargs cksum)
}

changed()
{
	say "$(date +%T) changed; building"
	build_and_install || { say "$(date +%T) the old one goes on"; return 0; }
	"${as_pg[@]}" "$pg_bin/pg_ctl" restart -s -w -m fast -D "$place/data" -l "$place/server.log" >/dev/null
	if [ "$(state_sum)" != "$state" ]; then
		say "$(date +%T) tables changed: DROP EXTENSION reflex CASCADE; CREATE EXTENSION reflex;"
		state=$(state_sum)
	else
		sql_code | db "$place" -1 -f - >/dev/null && say "$(date +%T) functions replayed"
	fi
	say "$(date +%T) restarted"
}

watch()
{
	local seen now

	state=$(state_sum)
	seen=$(newest)
	while running; do
		sleep 1 &
		wait $!
		now=$(newest)
		if [ "$now" != "$seen" ]; then
			seen=$now
			changed
		fi
	done
	say "the server has been stopped"
}

case ${1:-} in
	'' | --down | --psql | --logs | --reset) ;;
	-h | --help) help_of "$0"; exit ;;
	*) die "unknown option \"$1\"; see --help" ;;
esac
install_deps build
find_place
case ${1:-} in
	--down) stop ;;
	--reset) stop; rm -rf "$place" "$dev" ;;
	--psql) exec "$pg_bin/psql" -h "$place" -U postgres ;;
	--logs) exec tail -n 50 -F "$place/server.log" ;;
	'')
		running && die "it runs already: make db-shell, make dev-down"
		build_and_install
		trap 'stop; exit 0' INT TERM HUP
		start
		say "ready: $pg_bin/psql -h $place -U postgres   (make db-shell; Ctrl-C stops the server)"
		watch
		;;
esac
