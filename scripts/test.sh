#!/usr/bin/env bash
# test.sh [--unit | --integration] [--coverage]: builds, and runs the tests.
#
#   --unit         only what needs no server
#   --integration  only what needs one
#   --coverage     says in the end how much of each C file was reached
#
# Installs what is missing first.  The tests run against the extension built
# with assertions; the build without is what stays installed.  Servers run in
# /tmp as an unprivileged user, beside whatever else runs on this machine, and
# nothing of them is left.  The last line is "N passed, N failed, N skipped".
set -euo pipefail
# shellcheck source=scripts/install-deps.sh
. "$(dirname "${BASH_SOURCE[0]}")/install-deps.sh"

unit=1 integration=1 coverage=
for arg in "$@"; do
	case $arg in
		--unit) integration= ;;
		--integration) unit= ;;
		--coverage) coverage=1 ;;
		-h | --help) help_of "$0"; exit ;;
		*) die "unknown option \"$arg\"; see --help" ;;
	esac
done
[ -n "$unit$integration" ] || die "--unit and --integration exclude each other"

passed=0 failed=0 skipped=0

# Counts the verdicts in a log of TAP, prove or pg_regress: "passed failed
# skipped".  What is indented belongs to a subtest, whose verdict follows; prove
# says the sum; up to 15, pg_regress speaks a language of its own.  A run that
# ends in failure, or before its plan is done, has failed in something.
count()
{
	awk -v status="$2" '
		/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0; planned = 1; if (/# *SKIP/) skipped++ }
		/^(not )?ok/ { n++ }
		/^(not )?ok.*# *(SKIP|TODO|skip|todo)/ { skipped++; next }
		/^not ok/ || /^(test|  ).* \.\.\. +FAILED/ { failed++ }
		/^ok/ || /^(test|  ).* \.\.\. +ok/ { passed++ }
		/^Files=[0-9]+, Tests=[0-9]+/ && status == 0 { split($2, sum, /[=,]/); passed += sum[2] }
		END {
			if (failed == 0 && (status != 0 || (planned && plan != n)))
				failed++
			print passed + 0, failed + 0, skipped + 0
		}' "$1"
}

# suite NAME CMD...: runs one, counts, and shows the end of its log if it failed.
suite()
{
	local name=$1 log status=0 start=$EPOCHREALTIME p f s

	shift
	log=$work/log/${name//\//-}.log
	attend "$@" >"$log" 2>&1 || status=$?
	read -r p f s < <(count "$log" "$status")
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-32s %5d passed%s%s  %5.1f s\n' "$name" "$p" \
		"$([ "$f" -eq 0 ] || echo ", $f failed")" "$([ "$s" -eq 0 ] || echo ", $s skipped")" \
		"$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
	[ "$f" -eq 0 ] || show_failure "$log"
}

show_failure()
{
	local diffs

	if [ -s "$work/tree/regression.diffs" ]; then
		diffs=$work/tree/regression.diffs
	elif [ -s "$work/tree/output_iso/regression.diffs" ]; then
		diffs=$work/tree/output_iso/regression.diffs
	fi
	{
		grep -E '^ *not ok|FAILED' "$1" | head -n 20
		grep -vE '^ *(not )?ok' "${diffs:-$1}" | tail -n 60
	} | sed 's/^/    /' || true
}

run_unit()
{
	[ -e "$work/tree/test/unit/Makefile" ] || return 0
	suite unit make -s -C "$work/tree/test/unit" check
}

# One server for what is asked of the installed extension as a whole.
run_contracts()
{
	local file

	server_init "$work/server" <"$root/test/regress.conf"
	server_start "$work/server"
	db "$work/server" -c 'create extension reflex; create extension pgtap'
	suite replay "$work/tree/scripts/check-replay.sh" "$work/server"
	suite reference "$work/tree/scripts/reference.sh" --check "$work/server"
	for file in "$work"/tree/test/pgtap/*.sql; do
		suite "pgtap/$(basename "$file" .sql)" "$pg_bin/psql" -XAtq -h "$work/server" \
			-U postgres -v ON_ERROR_STOP=1 -f "$file" postgres
	done
	stop_servers
}

# pg_regress and its isolation sibling make their own servers.
run_regress()
{
	local tests=("$work"/tree/test/sql/*.sql) specs=("$work"/tree/test/specs/*.spec)

	[ ! -e "${tests[0]}" ] ||
		suite regress make -s -C "$work/tree" installcheck ISOLATION= TAP_TESTS=
	[ ! -e "${specs[0]}" ] ||
		suite isolation make -s -C "$work/tree" installcheck REGRESS= TAP_TESTS=
}

run_tap()
{
	local file

	use_test_perl
	for file in test/t/*.pl; do
		[ -e "$file" ] || continue
		suite "tap/$(basename "$file" .pl)" perl "$file"
		# A failed test keeps its data; here its log has just been shown.
		"${as_pg[@]}" rm -rf "$TESTDATADIR"
	done
}

show_coverage()
{
	say "lines reached:"
	cd "$work/tree"
	"${as_pg[@]}" gcov -n src/*.gcda src/*/*.gcda 2>/dev/null |
		awk -F"'" '/^File/ { file = $2 }
			/^Lines/ && file ~ /^src\// { sub(/^Lines executed:/, ""); print "  " file ": " $0; file = "" }' |
		sort -u
}

if [ -n "$integration" ]; then
	install_deps test
else
	install_deps build
fi
begin_work test
mkdir "$work/log"
build_tested ${coverage:+-Og --coverage}
[ -z "$unit" ] || run_unit
if [ -n "$integration" ]; then
	link_peers "$work/tree/test/node"
	install_tested
	run_contracts
	run_regress
	run_tap
fi
[ -z "$coverage" ] || show_coverage
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
