#!/usr/bin/env bash
# check-all.sh: everything that can be checked, however long it takes.
#
# Lint, the tests twice (the second run proves that the first left nothing
# behind), two minutes of torture, the demo, and the fuzzers.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
	-h | --help) help_of "$0"; exit ;;
esac
cd "$root"
scripts/lint.sh
scripts/test.sh
scripts/test.sh
scripts/torture.sh
scripts/demo.sh </dev/null
[ ! -e test/fuzz/Makefile ] || make -s -C test/fuzz check
say "all checks passed"
