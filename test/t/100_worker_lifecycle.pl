# Workers come with the extension and go with it, and are in nobody's way.
use strict;
use warnings;

use File::Spec;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $node = start_node('main', 'max_prepared_transactions' => 5, 'reflex.poll_interval' => '1s');

sub sql
{
	my ($database, $query) = @_;
	return $node->safe_psql($database, $query);
}

# The launcher reads the catalog of databases alone; nobody is connected yet.
sql('postgres', 'CREATE DATABASE app');
is(workers($node, 'app'), '', 'no workers without the extension');

sql('app', 'CREATE EXTENSION reflex');
workers_become($node, 'app', 'io sql', 1, 'workers come within a second of CREATE EXTENSION');
sql('postgres', 'CREATE EXTENSION reflex');
workers_become($node, 'postgres', 'io sql', 1, 'and in a second database');

# A transaction that does not commit brings nobody.
sql('postgres', 'CREATE DATABASE later');
sql('later', 'BEGIN; CREATE EXTENSION reflex; ROLLBACK');
is(workers($node, 'later'), '', 'no workers for an extension that was rolled back');

is( sql('app', "SELECT database, kind, pid IS NOT NULL, errors, last_error IS NULL FROM reflex.workers
                WHERE state IN ('running', 'sleeping') ORDER BY 1, 2"),
	"app|io|t|0|t\napp|sql|t|0|t\npostgres|io|t|0|t\npostgres|sql|t|0|t",
	'reflex.workers shows them all');
is( sql('app', "SELECT count(*) FROM pg_stat_activity a JOIN reflex.workers w USING (pid)
                WHERE a.application_name = 'reflex ' || w.kind || ' worker'"),
	'4', 'they go by their names in pg_stat_activity');

# The extension goes.
sql('app', 'BEGIN; DROP EXTENSION reflex; ROLLBACK');
workers_become($node, 'app', 'io sql', 2, 'workers come back when DROP EXTENSION is rolled back');
sql('app', 'BEGIN; SAVEPOINT s; DROP EXTENSION reflex; ROLLBACK TO s; COMMIT');
workers_become($node, 'app', 'io sql', 2, 'also when a subtransaction is');

my $session = $node->background_psql('app');
$session->query_safe('BEGIN');
$session->query_safe('DROP EXTENSION reflex');
is(workers($node, 'app'), '', 'no workers while the transaction that drops it runs');
my $start = sql('postgres', 'SELECT clock_timestamp()');
becomes(5, sub { sql('postgres', "SELECT clock_timestamp() > '$start'::timestamptz + '1.2 s'") },
	't', 'the launcher has had its turn');
is(workers($node, 'app'), '', 'and none are started meanwhile');
$session->query_safe('COMMIT');
$session->quit;
becomes(2, sub { sql('postgres', "SELECT count(*) FROM reflex.workers WHERE database = 'app'") },
	'0', 'the database has no seats after DROP EXTENSION');

takes_less(2, sub { sql('app', 'CREATE EXTENSION reflex; DROP EXTENSION reflex; CREATE EXTENSION reflex') },
	'the extension comes, goes and comes');
workers_become($node, 'app', 'io sql', 2, 'and so do the workers');
takes_less(2, sub { sql('app', 'BEGIN; DROP EXTENSION reflex; CREATE EXTENSION reflex; COMMIT') },
	'dropped and created in one transaction');
workers_become($node, 'app', 'io sql', 2, 'workers are there afterwards');
$node->command_ok([ 'psql', '-XAtqc', 'ALTER EXTENSION reflex UPDATE', $node->connstr('app') ],
	'ALTER EXTENSION UPDATE');
workers_become($node, 'app', 'io sql', 2, 'workers are there after ALTER EXTENSION');

# The whole database: copied, renamed, moved, dropped.
takes_less(2, sub { sql('postgres', 'CREATE DATABASE copy TEMPLATE app') }, 'CREATE DATABASE ... TEMPLATE');
workers_become($node, 'app', 'io sql', 2, 'workers are back in the original');
workers_become($node, 'copy', 'io sql', 3, 'and come to the copy');
takes_less(2, sub { sql('postgres', 'ALTER DATABASE copy RENAME TO renamed') }, 'ALTER DATABASE ... RENAME');
workers_become($node, 'renamed', 'io sql', 2, 'workers come under the new name');

my $dir = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir);
sql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$dir'");
takes_less(2, sub { sql('postgres', 'ALTER DATABASE renamed SET TABLESPACE elsewhere') },
	'ALTER DATABASE ... SET TABLESPACE');
workers_become($node, 'renamed', 'io sql', 2, 'workers are back after the move');
takes_less(2, sub { sql('postgres', 'DROP DATABASE renamed') }, 'DROP DATABASE');
sql('postgres', 'CREATE DATABASE copy TEMPLATE app');
workers_become($node, 'copy', 'io sql', 3, 'workers in another copy');
takes_less(2, sub { sql('postgres', 'DROP DATABASE copy WITH (FORCE)') }, 'DROP DATABASE ... FORCE');
becomes(2, sub { sql('postgres', "SELECT count(*) FROM reflex.workers WHERE database IS DISTINCT FROM 'app' AND database <> 'postgres' OR database IS NULL") },
	'0', 'no seats are left of what was dropped');

# Two-phase commit would leave nobody to tell the launcher.
for my $statement ('DROP EXTENSION reflex', 'DROP EXTENSION reflex; CREATE EXTENSION reflex')
{
	my ($rc, undef, $stderr) = $node->psql('app', "BEGIN; $statement; PREPARE TRANSACTION 'p'");
	like($stderr, qr/cannot PREPARE/, "no PREPARE TRANSACTION after $statement");
}
workers_become($node, 'app', 'io sql', 2, 'workers are still there');

# A statement that fails, and one that is not allowed.
my $failing = $node->psql('postgres', 'BEGIN; DROP DATABASE app');
isnt($failing, 0, 'DROP DATABASE in a transaction block fails');
workers_become($node, 'app', 'io sql', 2, 'and the workers are back');
sql('postgres', 'CREATE ROLE stranger LOGIN');
my $pid = pid_of($node, 'reflex io worker', 'app');
for my $try ('DROP DATABASE app', 'ALTER DATABASE app RENAME TO mine', 'CREATE DATABASE mine TEMPLATE app')
{
	isnt($node->psql('postgres', $try, extra_params => [ '-U', 'stranger' ]), 0, "a stranger may not: $try");
}
isnt($node->psql('app', 'DROP EXTENSION reflex', extra_params => [ '-U', 'stranger' ]), 0,
	'a stranger may not: DROP EXTENSION');
is(pid_of($node, 'reflex io worker', 'app'), $pid, 'and trying moves no worker');

# The extension in template1: none there, but in what is made from it.
sql('template1', 'CREATE EXTENSION reflex');
takes_less(2, sub { sql('postgres', 'CREATE DATABASE fresh') }, 'CREATE DATABASE from template1');
workers_become($node, 'fresh', 'io sql', 3, 'workers come to the new database');
is(workers($node, 'template1'), '', 'and not to the template');

my $log = slurp_file($node->logfile);
unlike($log, qr/being accessed by other users/, 'nothing was in use');
unlike($log, qr/PANIC|TRAP|terminated by signal|can't go from/, 'no worker stumbled');

takes_less(2, sub { $node->stop('fast') }, 'a fast shutdown');
done_testing();
