#!/usr/bin/env bash
# torture.sh [--minutes N] [--seed S]: one history of events under fire, for
# about so long (2 minutes).
#
#   --minutes N  how long: whole minutes, up to a day's 1440
#   --seed S     what chance decides is decided as in an earlier run
#
# Publishers that commit, roll back and idle, consumers that ack, nack and let
# leases lapse, and every few seconds a backend or the whole server is killed;
# in the end the books must balance (test/t/002_event_history.pl).  A seed
# repeats what was decided, not how processes were scheduled: to repeat a
# failure may take some runs.  Nothing is left behind; if it fails, what is
# shown is all there is.
set -euo pipefail
# shellcheck source=scripts/install-deps.sh
. "$(dirname "${BASH_SOURCE[0]}")/install-deps.sh"

minutes=2 seed=$((RANDOM * 32768 + RANDOM))
while [ $# -gt 0 ]; do
	case $1 in
		--minutes | --seed)
			[[ ${2:-} =~ ^[0-9]{1,9}$ ]] || die "$1 needs a number"
			declare "${1#--}=$((10#$2))"
			shift 2
			;;
		-h | --help) help_of "$0"; exit ;;
		*) die "unknown option \"$1\"; see --help" ;;
	esac
done
if [ "$minutes" -lt 1 ] || [ "$minutes" -gt 1440 ]; then
	die "--minutes must be between 1 and 1440"
fi

# A round: three seconds of load, and what it takes to come back.
rounds=$((minutes * 60 / 4))

show_failure()
{
	grep -E '^ *not ok|^ *#' "$1" | tail -n 60 || true
	find "$work/tap" -name '*.log' -exec grep -hE 'PANIC|TRAP|terminated by signal (6|11)' {} + 2>/dev/null |
		tail -n 20 || true
}

install_deps test
begin_work torture
build_tested -g
install_tested
use_test_perl
say "seed $seed, $rounds rounds"
status=0
REFLEX_HISTORY_ROUNDS=$rounds REFLEX_HISTORY_SEED=$seed \
	attend timeout $((minutes * 120 + 300)) perl test/t/002_event_history.pl >"$work/torture.log" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then
	show_failure "$work/torture.log"
	die "the books do not balance, or the test did not get to its end (status $status); --seed $seed"
fi
sed -n 's/^# \([0-9]* events,\)/\1/p' "$work/torture.log"
say "the books balance"
