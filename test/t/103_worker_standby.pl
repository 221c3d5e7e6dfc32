# No workers on a standby until it is promoted, and none under pg_upgrade.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "shared_preload_libraries = 'reflex'");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION reflex');
workers_become($primary, 'postgres', 'io sql', 2, 'workers on the primary');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay');
is( $standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'reflex%'"),
	'0', 'nobody on the standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM reflex.workers'), '0', 'and the view says so');
is( $standby->safe_psql('postgres',
		q{SELECT count(lag_events) || ' ' || count(*) FROM reflex.subscriptions, reflex.stats, (SELECT count(*) FROM reflex.deliveries) d}),
	'0 2', 'views on what is in the memory of the primary can be read, and know nothing');

# What is there can be looked at, and waits for the promotion.
$primary->safe_psql('postgres', "SELECT reflex.subscribe('s'); SELECT reflex.publish('before')");
$primary->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', 'SELECT type FROM reflex.events'), 'before', 'the log can be read on the standby');
my (undef, undef, $stderr) = $standby->psql('postgres', "SELECT * FROM reflex.receive('s')");
like($stderr, qr/cannot execute receiving events during recovery/, 'nothing is handed out there');
(undef, undef, $stderr) = $standby->psql('postgres', "SELECT reflex.publish('x')");
like($stderr, qr/cannot execute publishing/, 'nor published');
$standby->safe_psql('postgres', "SELECT reflex_internal.log_next(0)");
$primary->safe_psql('postgres', "SELECT count(reflex.publish('later')) FROM generate_series(1, 20000)");
$primary->wait_for_catchup($standby, 'replay');
takes_less(2, sub {
		$standby->promote;
		workers_become($standby, 'postgres', 'io sql', 2, 'workers after promotion');
	}, 'promotion');
is($standby->safe_psql('postgres', "SELECT count(*) FROM reflex.receive('s', 30000)"), '20001', 'then it is all there');
$standby->safe_psql('postgres', "SELECT reflex.publish('after')");
is($standby->safe_psql('postgres', "SELECT type FROM reflex.receive('s')"), 'after', 'and goes on');
$standby->stop('fast');

# -b is how pg_upgrade starts a server.
$primary->stop('fast');
$primary->append_conf('postgresql.conf', "restart_after_crash = off");
command_ok([ 'pg_ctl', '-s', '-w', '-D', $primary->data_dir, '-l', $primary->logfile, '-o', '-b', 'start' ],
	'start in binary upgrade mode');
is( $primary->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'reflex%'"),
	'0', 'nothing of reflex runs');
command_ok([ 'pg_ctl', '-s', '-w', '-D', $primary->data_dir, '-m', 'fast', 'stop' ], 'stop');
done_testing();
