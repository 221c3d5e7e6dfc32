#!/usr/bin/env bash
# install-deps.sh [build|test|demo|lint]...: installs what is missing.
#
#   build  PostgreSQL with its headers, a compiler, libcurl, libcrypto
#   test   build, and pgTAP, pg_cron, Perl modules, Node with the test peers
#   demo   build, and Python and Node with the test peers
#   lint   build, and cppcheck, shellcheck, perltidy, pg_bsd_indent
#
# For Debian 12 and 13, as root or with sudo.  What is there already, from
# whatever source, is left alone, and nothing is asked of the network then.
# No PostgreSQL cluster is created, started or touched.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# aimock needs this one; older than that, the project brings its own.
node_needed=20.15.0
node_package=node@24.9.0

missing=()

# need PACKAGE TEST...: the package is wanted when the test fails.
need()
{
	local package=$1

	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}

# The PostgreSQL that this Debian carries, when no other is here.
default_major()
{
	local major

	major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p')
	if [ -z "$major" ]; then
		as_root apt-get update -qq
		major=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p')
	fi
	[ -n "$major" ] || die "this system's packages have no PostgreSQL"
	echo "$major"
}

want_build()
{
	if ! find_postgres; then
		pg_major=$(default_major)
		pg_bin=/usr/lib/postgresql/$pg_major/bin
		pg_share=/usr/share/postgresql/$pg_major
		missing+=("postgresql-server-dev-$pg_major")
	fi
	need "postgresql-$pg_major" test -x "$pg_bin/postgres"
	need build-essential sh -c 'command -v gcc && command -v make'
	need pkg-config command -v pkg-config
	need libcurl4-openssl-dev pkg-config --exists libcurl
	need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
	need libssl-dev pkg-config --exists libcrypto
}

want_node()
{
	need python3 command -v python3
	need nodejs command -v node
	need npm command -v npm
	node=1
}

want_test()
{
	need "postgresql-$pg_major-pgtap" test -e "$pg_share/extension/pgtap.control"
	need "postgresql-$pg_major-cron" test -e "$pg_share/extension/pg_cron.control"
	need openssl command -v openssl
	need libipc-run-perl perl -MIPC::Run -e 1
	want_node
}

want_lint()
{
	need cppcheck command -v cppcheck
	need shellcheck command -v shellcheck
	need perltidy command -v perltidy
	need pg-bsd-indent command -v pg_bsd_indent
	need python3 command -v python3
}

# The server package would create a cluster and start it: this is a note to it,
# for as long as the installation takes.
install_packages()
{
	local note=/etc/postgresql-common/createcluster.d/reflex.conf status=0 log

	log=$(mktemp)
	say "installing: ${missing[*]}"
	as_root mkdir -p "$(dirname "$note")"
	echo 'create_main_cluster = false' | as_root tee "$note" >/dev/null
	as_root apt-get update -qq &&
		as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
			apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 || status=$?
	as_root rm -f "$note"
	[ "$status" -eq 0 ] || tail -n 20 "$log"
	rm -f "$log"
	[ "$status" -eq 0 ] || die "installing packages failed"
}

node_is_old()
{
	[ "$(printf '%s\n' "v$node_needed" "$(node --version)" | sort -V | head -n 1)" != "v$node_needed" ]
}

# The test peers, once per lock file.  Scripts of packages are not run, except
# that of the package that brings a newer node.
install_peers()
{
	local dir=$root/test/node

	use_node
	cmp -s "$dir/package-lock.json" "$dir/node_modules/.installed-lock" && ! node_is_old && return
	say "installing: test/node"
	cd "$dir"
	npm ci --silent --no-audit --no-fund --ignore-scripts
	if node_is_old; then
		npm install --silent --no-audit --no-fund --no-save --no-package-lock "$node_package"
		hash -r
		! node_is_old || die "node $(node --version) is older than $node_needed"
	fi
	cp package-lock.json node_modules/.installed-lock
	cd - >/dev/null
}

install_deps()
{
	local group node=

	missing=()
	want_build
	for group in "$@"; do
		case $group in
			build) ;;
			test) want_test ;;
			demo) want_node ;;
			lint) want_lint ;;
			*) die "unknown group \"$group\" (build, test, demo, lint)" ;;
		esac
	done
	[ ${#missing[@]} -eq 0 ] || install_packages
	[ -z "$node" ] || install_peers
	find_postgres || die "no PostgreSQL with headers after installing"
}

# Run, rather than sourced for install_deps.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	case ${1:-} in
		-h | --help) help_of "$0" ;;
		*) install_deps "${@:-build}" ;;
	esac
fi
