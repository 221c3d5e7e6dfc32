#!/usr/bin/env bash
# run.sh [--seconds N] [--pairs N] [--only NAME]... [--set NAME=VALUE]...:
# measures reflex against the cheapest thing PostgreSQL itself can do.
#
#   --seconds N   length of one run (1)
#   --pairs N     how often each pair of runs is repeated (5)
#   --only NAME   only this measurement; may be given several times
#   --set NAME=VALUE  a setting of the server, to see what it costs or brings:
#                 --set reflex.workers_per_database=0
#
# Measurements: publish, publish_many, receive, reaction, wal, snapshot.
# docs/performance.md says what they are and what they have shown.
#
# Every ratio comes from runs that take turns (A B A B ...): what disturbs the
# machine disturbs both.  Printed is the median of the ratios of the pairs, with
# the least and the greatest.  The server is a throwaway one below /tmp, with
# fsync on.  Builds and installs nothing: run "make && make install" before.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

all=(publish publish_many receive reaction wal snapshot)
only=() settings=()
seconds=1 pairs=5
while [ $# -gt 0 ]; do
	case $1 in
		--seconds) seconds=${2:-} && shift ;;
		--pairs) pairs=${2:-} && shift ;;
		--only) only+=("${2:-}") && shift ;;
		--set) settings+=("${2:-}") && shift ;;
		-h | --help) help_of "$0"; exit ;;
		*) die "unknown option \"$1\"; see --help" ;;
	esac
	shift
done
[[ $seconds =~ ^[1-9][0-9]*$ && $pairs =~ ^[1-9][0-9]*$ ]] || die "--seconds and --pairs take a number above 0"
[ ${#only[@]} -gt 0 ] || only=("${all[@]}")
for name in "${only[@]}"; do
	[[ " ${all[*]} " == *" $name "* ]] || die "no measurement \"$name\"; there are: ${all[*]}"
done

find_postgres || die "no PostgreSQL with its headers found; set PG_CONFIG"
[ -e "$pg_share/extension/reflex.control" ] || die "reflex is not installed: run \"make && make install\""
command -v "$pg_bin/pgbench" >/dev/null || die "pgbench is missing"
command -v python3 >/dev/null || die "python3 is missing"

begin_work bench
"${as_pg[@]}" mkdir "$work/bench"
tar -C "$root/bench" -cf - . | "${as_pg[@]}" tar -C "$work/bench" --no-same-owner -xf -

# Nothing here is tuned for one side: room for WAL so that no checkpoint falls
# into a run, and memory for what is measured.
server_init "$work/server" <<-CONF
	fsync = on
	synchronous_commit = on
	shared_buffers = 1GB
	max_wal_size = 16GB
	checkpoint_timeout = 1h
	max_connections = 100
	reflex.allowed_hosts = '127.0.0.1'
	$(printf '%s\n' "${settings[@]}")
CONF
server_start "$work/server"
db "$work/server" -c 'CREATE DATABASE bench'
db "$work/server" -d bench -c 'CREATE EXTENSION reflex'

say "$("$PG_CONFIG" --version), $(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg) at the start; runs of $seconds s, $pairs pairs"
export BENCH_BIN=$pg_bin BENCH_SECONDS=$seconds BENCH_PAIRS=$pairs
export PGHOST=$work/server PGDATABASE=bench PGUSER=postgres PYTHONDONTWRITEBYTECODE=1
for name in "${only[@]}"; do
	attend python3 "$work/bench/$name.py"
done
