#!/usr/bin/env bash
# typedefs.sh: writes scripts/typedefs.list, the type names that the layout of
# C needs to know.
#
# pg_bsd_indent can't tell a type from a variable by itself.  The names come
# from the debugging information of a fresh build, which knows PostgreSQL's and
# the libraries' as well as ours; those that no source of ours mentions are
# left out, so that the list changes only when the sources do.
set -euo pipefail
# shellcheck source=scripts/install-deps.sh
. "$(dirname "${BASH_SOURCE[0]}")/install-deps.sh"

case ${1:-} in
	-h | --help) help_of "$0"; exit ;;
esac
install_deps build
make -s -C "$root" -j"$(nproc)" reflex.so
cd "$root"
list=scripts/typedefs.list
comm -12 \
	<(objdump --dwarf=info src/*.o src/*/*.o |
		awk '/DW_TAG_/ { is = /DW_TAG_typedef/ } is && /DW_AT_name/ { print $NF; is = 0 }' | LC_ALL=C sort -u) \
	<(grep -ohE '\b[A-Za-z_][A-Za-z0-9_]*\b' src/*.[ch] src/*/*.[ch] | LC_ALL=C sort -u) >"$list.new"
mv "$list.new" "$list"
say "$list: $(wc -l <"$list") names"
