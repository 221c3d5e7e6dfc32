# Which databases have workers, and what happens when there are not enough slots.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $node = start_node('databases', 'reflex.poll_interval' => '500ms');
my @databases = qw(a b c);

sub set
{
	my ($name, $value) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = $value");
	$node->reload;
	return;
}

for my $database (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION reflex');
}
workers_become($node, $_, 'io sql', 2, "workers in $_") for @databases;

# reflex.databases and reflex.workers_per_database, on reload.
set('reflex.databases', "'a, nowhere'");
workers_become($node, $_, '', 2, "none in $_ once it is not listed") for qw(b c);
is(workers($node, 'a'), 'io sql', 'those in a stay');
is($node->safe_psql('a', 'SELECT count(*) FROM reflex.workers'), '2', 'no seats are left of the others');
set('reflex.databases', "'*'");
workers_become($node, $_, 'io sql', 2, "they are back in $_") for qw(b c);
set('reflex.workers_per_database', 2);
workers_become($node, 'a', 'io sql sql', 2, 'two sql workers');
set('reflex.workers_per_database', 0);
workers_become($node, 'a', 'io', 2, 'none');
set('reflex.workers_per_database', 1);
workers_become($node, 'a', 'io sql', 2, 'one');

# Templates and databases that nobody may enter.
$node->safe_psql('postgres', 'ALTER DATABASE b IS_TEMPLATE true; ALTER DATABASE c ALLOW_CONNECTIONS false');
workers_become($node, $_, '', 2, "workers leave $_") for qw(b c);
$node->safe_psql('postgres', 'ALTER DATABASE b IS_TEMPLATE false; ALTER DATABASE c ALLOW_CONNECTIONS true');
workers_become($node, $_, 'io sql', 2, "workers return to $_") for qw(b c);

# Three databases and two slots: they take turns.
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
$node->restart;
my %served;
becomes(15, sub {
		for my $database (@databases)
		{
			$served{$database} = 1 if workers($node, $database) eq 'io sql';
		}
		return join ' ', sort keys %served;
	}, 'a b c', 'each database has had both its workers');
ok( $node->safe_psql('a', "SELECT count(*) > 0 FROM reflex.workers
                           WHERE state = 'waiting' AND last_error ~ 'no background worker slot'"),
	'reflex.workers shows who waits, and for what');
my $complaints = () = slurp_file($node->logfile) =~ /out of background worker slots/g;
is($complaints, 1, 'one line in the log');
takes_less(2, sub { $node->safe_psql('postgres', "DROP DATABASE $_") for @databases }, 'all are dropped');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|can't go from/, 'no worker stumbled');
$node->stop('fast');
done_testing();
