#!/usr/bin/env bash
# dlq.sh COMMAND [OPTIONS] [-- PSQL_ARGS...]: dead letters, from the shell.
#
#   list    the newest dead letters
#   show    everything on record about one (--event)
#   retry   puts back one (--event), or all that the filters leave
#   purge   deletes one (--event), or all that the filters leave
#
#   --event ID           the event or effect
#   --subscription NAME  of this subscription ("reflex.effects", "rule:<name>")
#   --type TYPE          exact, or with a trailing ".*"
#   --error REGEXP       whose last error matches
#   --since TIME         that became dead letters at TIME or later ...
#   --until TIME         ... and before this TIME
#   --before NUMBER      list: those with smaller numbers (the column id)
#   --max N              list: so many (100); retry: no more than so many
#   --per-second N       retry: one after the other at this rate
#   --payload JSON       retry --event: delivered in place of the published one
#   --all                retry, purge: yes, without any filter
#
# The database is that of the PG* environment variables, or of the arguments
# behind --, which go to psql as they are: scripts/dlq.sh list -- -d shop
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command=${1:-}
case $command in
	list | show | retry | purge) shift ;;
	-h | --help) help_of "$0"; exit ;;
	'') die "what is to be done? See --help" ;;
	*) die "unknown command \"$command\"; see --help" ;;
esac

# Options are psql variables of the same name; what is not given is null.
vars=() given=' '
while [ $# -gt 0 ]; do
	case $1 in
		--event | --subscription | --type | --error | --since | --until | --before | --max | --per-second | --payload)
			[ $# -ge 2 ] || die "$1 needs a value"
			name=${1#--}
			vars+=(-v "${name//-/_}=$2")
			given+="${name//-/_} "
			shift 2
			;;
		--all) given+="all "; shift ;;
		-h | --help) help_of "$0"; exit ;;
		--) shift; break ;;
		*) die "unknown option \"$1\"; see --help" ;;
	esac
done

has()
{
	[[ $given == *" $1 "* ]]
}

# only NAMES...: refuses an option that the command would ignore.
only()
{
	local name

	for name in $given; do
		[[ " $* " == *" $name "* ]] || die "$command does not take --${name//_/-}"
	done
}

# call FUNCTION NAMES...: with those of the named arguments that were given.
call()
{
	local function=$1 name args=

	shift
	for name in "$@"; do
		! has "$name" || args+="${args:+, }${name/#event/event_id} => :'$name'"
	done
	printf '%s(%s)' "$function" "$args"
}

filters=(subscription type error since until)
case $command in
	list)
		only "${filters[@]}" before max
		sql="select id, subscription, type, event_id, attempts, error, dead_at
			from $(call reflex.dlq_list "${filters[@]}" before max)"
		;;
	show)
		only event subscription
		has event || die "show needs --event"
		sql="select * from $(call reflex.dlq_show event subscription)"
		;;
	retry)
		if has event; then
			only event subscription payload
			sql="select $(call reflex.dlq_retry event subscription payload) as retried"
		else
			only "${filters[@]}" max per_second all
			sql="select $(call reflex.dlq_retry_all "${filters[@]}" max per_second) as retried"
		fi
		;;
	purge)
		only "${filters[@]}" event all
		sql="select $(call reflex.dlq_purge "${filters[@]}" event) as purged"
		;;
esac
[ "$command" = list ] || [ "$given" != ' ' ] || die "$command needs a filter, or --all"
[ "$command" != show ] || set -- -x "$@"

command -v psql >/dev/null || die "psql is not installed"
psql -X -q -v ON_ERROR_STOP=1 "${vars[@]}" "$@" <<<"$sql;"
