#!/usr/bin/env bash
# reference.sh [--check DIR]: writes docs/sql-api.md and docs/settings.md.
#
# Both say what the installed extension says of itself: the comments of its
# functions and views, the descriptions of its settings.  Run it (or `make
# docs`) when one of these has changed.
#
#   --check DIR  writes nothing; prints TAP: are the files what the server whose
#                socket is in DIR would have them say?
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
	'') ;;
	--check) [ $# -eq 2 ] || die "--check takes a directory" ;;
	-h | --help) help_of "$0"; exit ;;
	*) die "unknown option \"$1\"; see --help" ;;
esac

# Functions by what they are about, which is the part of sql/ that makes them.
sql_api()
{
	cat <<-'MD'
		# SQL functions and views

		Everything in schema `reflex`, with who may use it. Made from the comments in the catalog by
		`scripts/reference.sh`; in psql: `\df+ reflex.*`, `\dv+ reflex.*`. Errors are named by SQLSTATE;
		PostgREST answers `PTnnn` with HTTP status nnn.

		## Functions
	MD
	db "$1" -At <<-'SQL'
		select format(E'\n### %s\n\n```sql\nreflex.%s(%s) → %s\n```\n\n%s\n\nFor: %s.', p.proname, p.proname,
			replace(pg_catalog.pg_get_function_arguments(p.oid), ', ', E',\n    '),
			pg_catalog.pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc'),
			coalesce((select string_agg(distinct a.grantee::regrole::text, ', ' order by a.grantee::regrole::text)
				from aclexplode(p.proacl) a where a.grantee::regrole::text like 'reflex\_%'), 'everybody'))
		from pg_proc p where p.pronamespace = 'reflex'::regnamespace order by p.proname, p.pronargs, p.oid::regprocedure::text;
	SQL
	printf '\n## Views\n'
	db "$1" -At <<-'SQL'
		select format(E'\n### %s\n\n%s\n\nColumns: %s.', c.relname, obj_description(c.oid, 'pg_class'),
			(select string_agg(format('`%s` %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
			 from pg_attribute a where a.attrelid = c.oid and a.attnum > 0))
		from pg_class c where c.relnamespace = 'reflex'::regnamespace and c.relkind = 'v' order by c.relname;
	SQL
}

settings()
{
	cat <<-'MD'
		# Settings

		Made from the server's own descriptions by `scripts/reference.sh`; in psql: `\dconfig+ reflex.*`. Where
		it says *restart*, the server must be restarted; *reload*, the configuration reloaded; *superuser*, a
		superuser may set it for a session, too; *user*, anybody may.

		| setting | default | range | changed by | what it is |
		|---|---|---|---|---|
	MD
	db "$1" -At <<-'SQL'
		select format('| `%s` | %s | %s | %s | %s |', s.name,
			case when s.boot_val = '' then 'empty' else '`' || s.boot_val || coalesce(' ' || s.unit, '') || '`' end,
			coalesce(s.min_val || ' to ' || s.max_val, ''),
			case s.context when 'postmaster' then 'restart' when 'sighup' then 'reload' else s.context end, s.short_desc)
		from pg_settings s where s.name like 'reflex.%' order by s.name;
	SQL
}

# same NUMBER FILE TEXT
same()
{
	if [ "$3" = "$(cat "$root/$2")" ]; then
		echo "ok $1 - $2 is up to date"
	else
		echo "not ok $1 - $2 is up to date"
		diff <(echo "$3") "$root/$2" | sed 's/^/# /' | head -n 20
	fi
}

if [ "${1:-}" = --check ]; then
	find_postgres
	echo 1..2
	checked=$(same 1 docs/sql-api.md "$(sql_api "$2")"; same 2 docs/settings.md "$(settings "$2")")
	echo "$checked"
	if grep -q '^not ok' <<<"$checked"; then
		exit 1
	fi
	exit
fi

begin_work reference
server_init "$work/server" </dev/null
server_start "$work/server"
db "$work/server" -c 'create extension reflex'
sql_api "$work/server" >"$root/docs/sql-api.md"
settings "$work/server" >"$root/docs/settings.md"
