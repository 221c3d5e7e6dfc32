#!/usr/bin/env bash
# upgrade-script.sh: writes the script that brings one old version to this one.
#
# The script is a guard, every delta of sql/upgrade/ from FROM on in the order
# of versions, and the code parts once.  The deltas must form one chain that
# ends at TO; a missing link is an error here rather than at somebody's upgrade.
set -euo pipefail

if [ "${1:-}" = --help ] || [ $# -lt 2 ]; then
	echo "usage: scripts/upgrade-script.sh FROM TO CODE_PART..."
	exit $(($# < 2 && $# != 1))
fi
from=$1 to=$2
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."

chain=()
at=$from
while [ "$at" != "$to" ]; do
	step=$(find sql/upgrade -name "$at--*.sql")
	if [ -z "$step" ] || [ "$(wc -l <<<"$step")" -ne 1 ]; then
		echo "sql/upgrade: version $at must lead to one other on the way from $from to $to" >&2
		exit 1
	fi
	chain+=("$step")
	at=$(basename "$step" .sql)
	at=${at#*--}
done

printf '%s\n' "\\echo Use \"ALTER EXTENSION reflex UPDATE TO '$to'\" to load this file. \\quit"
cat -- "${chain[@]}" "$@"
