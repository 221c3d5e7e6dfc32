#!/usr/bin/env bash
# replay.sh --last TIME [OPTIONS] [-- PSQL_ARGS...]: the events of the past, in
# order, one JSON object per line.
#
#   --last TIME     from so long ago on, as "1h", "30 min", "2 days"
#   --since TIME    from this time on, in place of --last
#   --until TIME    up to and without this time
#   --type TYPE     of this type, exact or with a trailing ".*"; may be repeated
#   --session KEY   of this session
#
# Delivers nothing and changes nothing.  To have events processed again,
# subscribe from a time on: reflex.subscribe(..., start_at => '2026-01-31 12:00').
#
# The database is that of the PG* environment variables, or of the arguments
# behind --, which go to psql as they are: scripts/replay.sh --last 1h -- -d shop
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

vars=() types='' since='' until='' session=''
while [ $# -gt 0 ]; do
	case $1 in
		--last | --since | --until | --type | --session)
			[ $# -ge 2 ] || die "$1 needs a value"
			;;&
		--last) since="now() - :'last'::interval"; vars+=(-v "last=$2"); shift 2 ;;
		--since) since=":'since'"; vars+=(-v "since=$2"); shift 2 ;;
		--until) until=", until => :'until'"; vars+=(-v "until=$2"); shift 2 ;;
		--session) session=", session => :'session'"; vars+=(-v "session=$2"); shift 2 ;;
		--type)
			types+="${types:+, }:'type${#vars[@]}'"
			vars+=(-v "type${#vars[@]}=$2")
			shift 2
			;;
		-h | --help) help_of "$0"; exit ;;
		--) shift; break ;;
		*) die "unknown option \"$1\"; see --help" ;;
	esac
done
[ -n "$since" ] || die "from when on? See --last and --since"

command -v psql >/dev/null || die "psql is not installed"
psql -X -q -A -t -v ON_ERROR_STOP=1 "${vars[@]}" "$@" <<-SQL
	select to_json(e) from reflex.replay(since => $since$until$session${types:+, types => array[$types]}) e;
SQL
