#!/usr/bin/env bash
# lint.sh [--fix | --format]: what can be known without running the tests.
#
#   --fix     lays out C and Perl first, then checks
#   --format  lays out and does nothing else
#
# Errors: a warning of the compiler, with assertions or without; what cppcheck
# and shellcheck say; Python that does not parse; white space that .editorconfig
# forbids; a code part that could not be replayed.  Layout is told, and fails
# nothing: pg_bsd_indent does not know all of C (designated initialisers), so
# look at what --fix has done before you commit it.
set -euo pipefail
# shellcheck source=scripts/install-deps.sh
. "$(dirname "${BASH_SOURCE[0]}")/install-deps.sh"

fix='' check=1
case ${1:-} in
	'') ;;
	--fix) fix=1 ;;
	--format) fix=1 check= ;;
	-h | --help) help_of "$0"; exit ;;
	*) die "unknown option \"$1\"; see --help" ;;
esac
failed=0

# PostgreSQL's own options (src/tools/pgindent), with a little more room.
indent=(pg_bsd_indent -bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -i4 -l110
	-lp -lpl -nip -npro -sac -tpg -ts4 "-U$root/scripts/typedefs.list")

c_files()
{
	find src test/unit test/fuzz -name '*.[ch]' 2>/dev/null | sort
}

perl_files()
{
	find test -path '*/node_modules' -prune -o \( -name '*.pl' -o -name '*.pm' \) -print | sort
}

shell_files()
{
	local file

	for file in scripts/* bench/* demo/* docker/* .ci/*; do
		[ ! -f "$file" ] || ! head -n 1 "$file" | grep -qE '^#!.*sh$|shellcheck shell' || echo "$file"
	done
}

# check NAME CMD...: runs it, and shows what it says if it fails.
check()
{
	local name=$1 out status=0

	shift
	out=$("$@" 2>&1) || status=$?
	printf '%-16s %s\n' "$name" "$([ "$status" -eq 0 ] && echo ok || echo FAILED)"
	if [ "$status" -ne 0 ]; then
		failed=$((failed + 1))
		printf '%s\n' "$out" | tail -n 60
	fi
}

# The return type on a line of its own confuses the tool when it is a pointer,
# and so does a designated initialiser after a comma.
laid_out_c()
{
	cp "$1" "$work/layout.c"
	(cd "$work" && "${indent[@]}" layout.c layout.out.c >/dev/null 2>&1) || true
	sed -E 's/^([A-Za-z_][A-Za-z0-9_ ]*[A-Za-z0-9_])\t +(\*+)$/\1 \2/; s/,\.([a-z])/, .\1/g' "$work/layout.out.c"
}

laid_out_perl()
{
	perltidy "--profile=$root/.perltidyrc" -st <"$1"
}

# layout FORMATTER FILE...: names the files that it would change, or changes them.
layout()
{
	local formatter=$1 file n=0

	shift
	for file in "$@"; do
		"$formatter" "$file" >"$work/laid_out"
		cmp -s "$work/laid_out" "$file" && continue
		n=$((n + 1))
		if [ -n "$fix" ]; then
			cat "$work/laid_out" >"$file"
			say "laid out: $file"
		fi
	done
	[ -n "$fix" ] || [ "$n" -eq 0 ] || say "$formatter: $n files would change (make format)"
}

# Twice in copies, so that neither build disturbs the one in place.
compile()
{
	copy_tree "$work/tree"
	"${as_pg[@]}" make -s -C "$work/tree" -j"$(nproc)" "COPT=$1"
	"${as_pg[@]}" rm -rf "$work/tree"
}

# elog and ereport do not return from an error, which their macros hide from it.
run_cppcheck()
{
	cppcheck --quiet --enable=warning,portability,performance --inline-suppr --std=c11 \
		--error-exitcode=1 -j"$(nproc)" \
		--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=uninitvar \
		-I"$root/src" "-DPG_VERSION_NUM=${pg_major}0000" -DLIBCURL_VERSION_NUM=0x075801 -DERROR=21 \
		'-Delog(level,...)=((level)>=ERROR?abort():(void)0)' \
		'-Dereport(level,...)=((level)>=ERROR?abort():(void)0)' src
}

run_python()
{
	find . \( -name node_modules -o -name .git \) -prune -o -name '*.py' -print0 |
		xargs -0 -r -n 1 python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])'
}

# Spaces at the end of a line, a missing newline at the end of a file.
run_whitespace()
{
	local file bad=0

	while read -r file; do
		if grep -nHE '[[:blank:]]+$' "$file"; then
			bad=1
		fi
		if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then
			echo "$file: no newline at the end"
			bad=1
		fi
	done < <(find . \( -name .git -o -name node_modules -o -name expected -o -name fixtures -o -name .dev -o -name build \) -prune \
		-o -type f \( -name '*.[ch]' -o -name '*.sql' -o -name '*.sh' -o -name '*.p[lmy]' -o -name '*.md' \
		-o -name Makefile -o -name '*.mk' -o -name '*.conf' \) ! -name 'reflex--*' -print)
	return "$bad"
}

# What can be seen of it without a server; check-replay.sh does the rest.
run_replayable()
{
	! sql_parts SQL_CODE | xargs grep -nEi '^[[:space:]]*(CREATE[[:space:]]+(FUNCTION|PROCEDURE|VIEW|TABLE|INDEX|UNIQUE|TYPE|SEQUENCE|SCHEMA|ROLE|AGGREGATE|OPERATOR|CAST)\b|DROP[[:space:]])'
}

# One version in the four places that name it.
run_versions()
{
	local version

	version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" reflex.control)
	grep -q "\"$version\"" src/reflex.h
	grep -q "\"version\": \"$version\"" META.json
	grep -q "^## $version" CHANGELOG.md
}

install_deps lint
begin_work lint
cd "$root"
mapfile -t c < <(c_files)
mapfile -t perl < <(perl_files)
mapfile -t shell < <(shell_files)
layout laid_out_c "${c[@]}"
layout laid_out_perl "${perl[@]}"
[ -n "$check" ] || exit 0
check "compiler" compile ""
check "with assertions" compile "-DUSE_ASSERT_CHECKING"
check cppcheck run_cppcheck
check shellcheck shellcheck "${shell[@]}"
check python run_python
check "white space" run_whitespace
check replayable run_replayable
check version run_versions
[ "$failed" -eq 0 ]
