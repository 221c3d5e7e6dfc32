#!/usr/bin/env bash
# check-replay.sh DIR: do the code parts replay, and change nothing by it?
#
# Every upgrade runs all of SQL_CODE again over what is there, so each part
# must be able to run twice.  This runs them once more in the server whose
# socket is in DIR, where the extension has just been created, and compares
# the catalog before and after.  Prints TAP.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ $# -ne 1 ] || [ "$1" = --help ]; then
	help_of "$0"
	exit $(($# != 1))
fi
dir=$1
find_postgres

# Every function, view, type and schema of ours with its text, rights and comment.
catalog()
{
	db "$dir" -At <<-'SQL'
		set search_path = pg_catalog;
		select 'function', p.oid::regprocedure, pg_get_functiondef(p.oid), p.proacl, p.proowner::regrole,
			obj_description(p.oid, 'pg_proc')
		from pg_proc p where p.prokind <> 'a' and p.pronamespace in ('reflex'::regnamespace, 'reflex_internal'::regnamespace)
		order by 2;
		select 'relation', c.oid::regclass, c.relkind, c.relacl, c.reloptions, pg_get_viewdef(c.oid),
			obj_description(c.oid, 'pg_class')
		from pg_class c where c.relnamespace in ('reflex'::regnamespace, 'reflex_internal'::regnamespace)
		order by 2;
		select 'schema', nspname, nspacl from pg_namespace where nspname like 'reflex%' order by 2;
		select 'members', count(*) from pg_depend
		where deptype = 'e' and refobjid = (select oid from pg_extension where extname = 'reflex');
	SQL
}

before=$(catalog)
replayed=$(sql_code | db "$dir" -1 -f - 2>&1 >/dev/null | grep -v -E 'NOTICE|^$' || true)
after=$(catalog)

echo 1..2
if [ -z "$replayed" ]; then
	echo "ok 1 - the code parts run a second time"
else
	echo "not ok 1 - the code parts run a second time"
	printf '# %s\n' "${replayed//$'\n'/$'\n# '}"
fi
if [ "$before" = "$after" ]; then
	echo "ok 2 - which changes nothing"
else
	echo "not ok 2 - which changes nothing"
	diff <(echo "$before") <(echo "$after") | sed 's/^/# /'
fi
[ -z "$replayed" ] && [ "$before" = "$after" ]
