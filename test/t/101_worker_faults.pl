# Workers and launcher are killed, cancelled and badly configured; they come back.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $node = start_node('faults',
	'reflex.poll_interval' => '500ms',
	'restart_after_crash' => 'on');

$node->safe_psql('postgres', 'CREATE EXTENSION reflex');
workers_become($node, 'postgres', 'io sql', 2, 'workers are there');

# SIGTERM: another one after a second.
for my $kind ('io', 'sql')
{
	my $pid = pid_of($node, "reflex $kind worker", 'postgres');

	kill 'TERM', $pid;
	becomes(1, sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") },
		'0', "$kind worker exits within a second of SIGTERM");
	workers_become($node, 'postgres', 'io sql', 4, "another $kind worker comes");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM reflex.workers WHERE errors = 1'),
	'2', 'reflex.workers counts what died');

# SIGINT has nothing to cancel in a worker that sleeps.
my $io = pid_of($node, 'reflex io worker', 'postgres');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($io)");
is($node->safe_psql('postgres', "SELECT pid FROM reflex.workers WHERE kind = 'io'"),
	$io, 'pg_cancel_backend does not end a worker');

# The launcher dies; its workers stay, and it adopts them.
my $launcher = pid_of($node, 'reflex launcher');
my $before = $node->safe_psql('postgres', 'SELECT array_agg(pid ORDER BY pid) FROM reflex.workers');
kill 'TERM', $launcher;
becomes(8, sub { my $p = pid_of($node, 'reflex launcher'); $p ne '' && $p ne $launcher ? 'new' : $p },
	'new', 'the launcher is started again');
is($node->safe_psql('postgres', 'SELECT array_agg(pid ORDER BY pid) FROM reflex.workers'),
	$before, 'with the workers that were there');
kill 'TERM', pid_of($node, 'reflex sql worker', 'postgres');
workers_become($node, 'postgres', 'io sql', 4, 'and it looks after them');

# Without a launcher the hook still frees the database.
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION reflex');
workers_become($node, 'app', 'io sql', 2, 'workers in a second database');
kill 'TERM', pid_of($node, 'reflex launcher');
becomes(2, sub { pid_of($node, 'reflex launcher') }, '', 'no launcher');
takes_less(2, sub { $node->safe_psql('postgres', 'DROP DATABASE app') }, 'DROP DATABASE without a launcher');
becomes(8, sub { pid_of($node, 'reflex launcher') ne '' }, '1', 'the launcher is back');

# kill -9: the server starts over, and everything is there again.
for my $kind ('io', 'sql')
{
	kill 'KILL', pid_of($node, "reflex $kind worker", 'postgres');
	$node->poll_query_until('postgres', 'SELECT 1', '1');
	workers_become($node, 'postgres', 'io sql', 5, "workers are back after kill -9 of the $kind worker");
}
$node->stop('immediate');
$node->start;
workers_become($node, 'postgres', 'io sql', 3, 'and after an immediate shutdown');

# An orphan that has ended is a zombie until whoever inherits it has looked.
sub is_alive
{
	my ($pid) = @_;

	return 0 unless kill 0, $pid;
	my ($state) = (eval { slurp_file("/proc/$pid/stat") } // '') =~ /\) (\w)/;
	return ($state // '?') ne 'Z';
}

# kill -9 of the postmaster: no orphan may go on beside the next server.
my @orphans = map { pid_of($node, "reflex $_ worker", 'postgres') } qw(io sql);
$node->kill9;
becomes(2, sub { scalar grep { is_alive($_) } @orphans }, '0', 'workers end with the postmaster');
# The next server is refused until all orphans, ours or not, have left shared memory.
becomes(20, sub { $node->start(fail_ok => 1) || ($node->stop('fast', fail_ok => 1), 0)[1] }, '1', 'the next server starts');
workers_become($node, 'postgres', 'io sql', 3, 'and they come back with it');

# Settings of the database and of the role that would stop anybody.
my %hostile = (
	default_transaction_read_only => 'on',
	default_transaction_isolation => 'serializable',
	default_transaction_deferrable => 'on',
	statement_timeout => '1ms',
	lock_timeout => '1ms',
	idle_in_transaction_session_timeout => '1ms',
	search_path => 'nowhere',
	session_replication_role => 'replica',
	row_security => 'off',
	role => 'nobody',
	"\"DateStyle\"" => 'German',
	synchronous_commit => 'off');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

$node->safe_psql('postgres', "CREATE ROLE nobody; CREATE DATABASE hostile CONNECTION LIMIT 0");
$node->safe_psql('hostile', 'CREATE EXTENSION reflex');
workers_become($node, 'hostile', 'io sql', 2, 'workers in a database of connection limit 0');
$node->safe_psql(
	'template1',
	join ';',
	map { ("ALTER DATABASE hostile SET $_ = '$hostile{$_}'", "ALTER ROLE $superuser IN DATABASE hostile SET $_ = '$hostile{$_}'") }
	  sort keys %hostile);
$node->restart;
workers_become($node, 'hostile', 'io sql', 3, 'workers come in spite of hostile settings');
my $pids = $node->safe_psql('template1', "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE datname = 'hostile'");
my $start = $node->safe_psql('template1', "SELECT extract(epoch FROM clock_timestamp())");
becomes(5, sub { $node->safe_psql('template1', "SELECT extract(epoch FROM clock_timestamp()) > $start + 1.2") },
	't', 'two poll intervals have gone by');
is($node->safe_psql('template1', "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE datname = 'hostile'"),
	$pids, 'and they stay');
is($node->safe_psql('postgres', "SELECT coalesce(max(errors), 0) FROM reflex.workers"),
	'0', 'without an error');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal 11|can't go from/, 'no worker stumbled');
takes_less(2, sub { $node->stop('fast') }, 'a fast shutdown');
done_testing();
