# shellcheck shell=bash disable=SC2034
# lib.sh: what the scripts share.  Sourced, never run.
#
# A PostgreSQL server refuses to run as root, and the repository may lie where
# no other user can read.  So a script that needs servers builds in place as
# whoever called it, installs as root, and lets everything else happen in a
# working directory below /tmp that belongs to an unprivileged user: as_pg is
# the prefix that makes a command that user's.
#
# Whatever a script starts, it starts through spawn (its own process group) or
# server_start, and end_work stops and removes all of it, however the script
# ends.  Servers speak through sockets in the working directory only, so that
# no port of anybody else's is ever in the way.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=
as_pg=()
groups=()
at_end=()

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# The comment at the head of the script is its help.
help_of()
{
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root, or sudo, for: $*"
	fi
}

# Sets PG_CONFIG and what follows from it: the newest PostgreSQL whose headers
# are here, unless the caller has named one.  Fails when there is none.
find_postgres()
{
	local dir

	if [ -z "${PG_CONFIG:-}" ]; then
		while read -r dir; do
			if [ -e "$dir/lib/pgxs/src/makefiles/pgxs.mk" ]; then
				PG_CONFIG=$dir/bin/pg_config
			fi
		done < <(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 2>/dev/null | sort -V)
	fi
	[ -n "${PG_CONFIG:-}" ] && [ -x "$(command -v "$PG_CONFIG")" ] || return 1
	export PG_CONFIG
	pg_major=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	pg_bin=$("$PG_CONFIG" --bindir)
	pg_share=$("$PG_CONFIG" --sharedir)
	pg_src=$(dirname "$("$PG_CONFIG" --pgxs)")/..
}

# Whose the servers will be: the caller's, or as root somebody unprivileged.
find_pg_user()
{
	local user

	[ "$(id -u)" -eq 0 ] || return 0
	for user in ${REFLEX_TEST_USER:-} postgres nobody; do
		if id "$user" >/dev/null 2>&1; then
			as_pg=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups
				env "USER=$user" "LOGNAME=$user")
			pg_user=$user
			return 0
		fi
	done
	die "no unprivileged user to run servers as"
}

# begin_work NAME: the working directory, and the promise to remove it.
begin_work()
{
	local variable

	find_pg_user
	work=$(mktemp -d "/tmp/reflex-$1.XXXXXX")
	trap end_work EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# What is left by somebody who is killed is left in here, too.
	mkdir "$work/tmp"
	export TMPDIR=$work/tmp
	if [ ${#as_pg[@]} -gt 0 ]; then
		chown "$pg_user" "$work" "$work/tmp"
		as_pg+=("HOME=$work")
	fi
	# What the caller has set for his own servers must not reach these.
	for variable in "${!PG@}"; do
		[ "$variable" = PG_CONFIG ] || unset "$variable"
	done
	find_postgres
	cd "$work" || exit
}

end_work()
{
	local status=$? action

	trap '' INT TERM HUP
	trap - EXIT
	set +e
	stop_groups
	stop_servers
	for action in "${at_end[@]}"; do
		"$action"
	done
	cd /
	rm -rf "$work"
	exit "$status"
}

# spawn CMD...: in the background, as the unprivileged user, in a process group
# of its own; its id is in $spawned.
spawn()
{
	setsid "${as_pg[@]}" "$@" &
	spawned=$!
	groups+=("$spawned")
}

# attend CMD...: the same, waited for.  A trap runs while bash waits, which it
# does not while a foreground command runs.
attend()
{
	spawn "$@" </dev/null
	wait "$spawned"
}

stop_groups()
{
	local group tries=0

	for group in "${groups[@]}"; do
		kill -TERM -- "-$group" 2>/dev/null
	done
	for group in "${groups[@]}"; do
		while kill -0 -- "-$group" 2>/dev/null && [ $((tries += 1)) -lt 50 ]; do
			sleep 0.1
		done
		kill -KILL -- "-$group" 2>/dev/null
	done
	wait "${groups[@]}" 2>/dev/null
}

# Every server below the working directory, whoever started it there.
stop_servers()
{
	local pidfile

	while read -r pidfile; do
		"${as_pg[@]}" "$pg_bin/pg_ctl" stop -s -m immediate -D "$(dirname "$pidfile")" >/dev/null 2>&1
	done < <(find "$work" -name postmaster.pid 2>/dev/null)
}

# server_init DIR: a cluster in DIR/data with its socket in DIR, and what is
# read from stdin added to its configuration.
server_init()
{
	local dir=$1

	"${as_pg[@]}" mkdir -p "$dir"
	"${as_pg[@]}" "$pg_bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync \
		-E UTF8 --locale=C.UTF-8 >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; return 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir'"
		echo "shared_preload_libraries = 'reflex'"
		cat
	} | "${as_pg[@]}" tee -a "$dir/data/postgresql.conf" >/dev/null
}

# server_start DIR: starts it and waits until it answers.
server_start()
{
	"${as_pg[@]}" "$pg_bin/pg_ctl" start -w -s -D "$1/data" -l "$1/server.log" >/dev/null && return
	tail -n 20 "$1/server.log"
	return 1
}

# db DIR ARGS...: psql in the server of DIR, quiet, no one's .psqlrc.
db()
{
	local dir=$1

	shift
	"$pg_bin/psql" -X -q -h "$dir" -U postgres -v ON_ERROR_STOP=1 "$@"
}

# copy_tree DIR: the sources without what was built, readable to the
# unprivileged user.
copy_tree()
{
	"${as_pg[@]}" mkdir -p "$1"
	tar -C "$root" --exclude=./.git --exclude=./.dev --exclude=./build --exclude=node_modules \
		--exclude='*.o' --exclude='*.so' --exclude='*.gcda' --exclude='*.gcno' -cf - . |
		"${as_pg[@]}" tar -C "$1" --no-same-owner -xf -
}

# build_tested OPTION...: the extension as it is, in place, and with assertions
# and these options of the compiler in a copy of the tree, $work/tree.
build_tested()
{
	say "building for PostgreSQL $pg_major"
	make -s -C "$root" -j"$(nproc)"
	copy_tree "$work/tree"
	attend make -s -C "$work/tree" -j"$(nproc)" "COPT=-DUSE_ASSERT_CHECKING $*"
}

# What is installed while the tests run has assertions; afterwards it has none.
install_tested()
{
	at_end+=(install_plain)
	as_root make -s -C "$work/tree" install >/dev/null
}

install_plain()
{
	as_root make -s -C "$root" install >/dev/null
}

# What test/t wants to find: PostgreSQL's modules for tests, and where to work.
use_test_perl()
{
	export PG_REGRESS=$pg_src/test/regress/pg_regress
	export PERL5LIB=$pg_src/test/perl:$work/tree/test/perl
	export TESTDIR=$work/tap TESTDATADIR=$work/tap/tmp_check TESTLOGDIR=$work/tap/log
	export PATH=$pg_bin:$PATH
	"${as_pg[@]}" mkdir -p "$TESTDIR"
	cd "$work/tree" || exit
}

# sql_parts SQL_STATE | SQL_CODE: the files of these parts, in order.
sql_parts()
{
	# shellcheck disable=SC2016 # $(SQL_CODE) is for make
	printf 'include sql/order.mk\nall: ; @printf "%%s\\n" $(%s)\n' "$1" | make -s -C "$root" -f -
}

# The code parts as CREATE EXTENSION would read them.
sql_code()
{
	# shellcheck disable=SC2016 # $libdir is for the server
	(cd "$root" && sql_parts SQL_CODE | xargs sed 's/MODULE_PATHNAME/$libdir\/reflex/')
}

# A TCP port that nobody listens on.  Somebody may take it before it is used;
# the kernel hands out others for a long while first.
free_port()
{
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for SECONDS CMD...: until the command succeeds.
wait_for()
{
	local deadline=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

# node and the test peers of test/node, in front of whatever else is called so.
use_node()
{
	PATH=$root/test/node/node_modules/.bin:$PATH
}

# link_peers DIR: makes them DIR/node_modules, where the unprivileged user can
# read them, and puts them in front.
link_peers()
{
	local peers=$root/test/node/node_modules

	if "${as_pg[@]}" test -r "$peers/.installed-lock"; then
		"${as_pg[@]}" ln -s "$peers" "$1/node_modules"
	else
		tar -C "$root/test/node" -cf - node_modules | "${as_pg[@]}" tar -C "$1" --no-same-owner -xf -
	fi
	PATH=$1/node_modules/.bin:$PATH
}
