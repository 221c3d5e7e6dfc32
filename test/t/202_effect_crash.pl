# A server or a worker that dies while calls are out: nothing is lost, what is
# not known is said to be unknown, and no transaction waits for the network.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use HostileServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $peer = HostileServer->start;
my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'reflex'
reflex.allowed_hosts = '127.0.0.1'
reflex.event_retry_base_delay = '50ms'
synchronous_commit = off
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION reflex');

sub emit_to
{
	my ($path, $times) = @_;
	my $url = $peer->url($path);
	return $node->safe_psql('postgres', sprintf(
		q{SELECT reflex.emit('http', '{"url": "%s"}') FROM generate_series(1, %d)}, $url, $times // 1));
}

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

# The dead server's processes may need a moment to notice.
sub start_again
{
	foreach (1 .. 1800)
	{
		return if $node->start(fail_ok => 1);
		$node->stop('immediate', fail_ok => 1);
		sleep 0.1;
	}
	die 'the server does not start';
}

my $workers = q{FROM pg_stat_activity WHERE backend_type LIKE '%reflex%' AND datname = current_database()};

# Fifty calls hang, and nobody holds a transaction or a snapshot.
emit_to('/hang/many?s=600', 50);
ok($peer->wait_for(50, '/hang/many'), 'fifty calls hang');
is(query("SELECT count(*) FROM reflex.effects WHERE state = 'executing'"), '50', 'and are executing');
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 AND count(xact_start) = 0 AND count(backend_xmin) = 0 $workers"),
	'with no transaction and no snapshot open');

# The server dies; the attempt is on disk although commits are asynchronous.
my $id = emit_to('/hang/killed?s=600');
ok($peer->wait_for(1, '/hang/killed'), 'a call hangs');
$node->kill9;
my $lost = $peer->requests('/hang/killed');
is($lost->[0]{attempt}, 1, 'it was the first attempt');
$node->append_conf('postgresql.conf', "reflex.databases = 'nowhere'");
start_again();
is(query("SELECT state, attempts FROM reflex.effects WHERE id = '$id'"), 'unknown|1', 'after the crash it is unknown');
$node->append_conf('postgresql.conf', "reflex.databases = '*'");
$node->reload;
ok($peer->wait_for(2, '/hang/killed'), 'and is sent again');
my @requests = @{ $peer->requests('/hang/killed') };
is_deeply([ map { $_->{attempt} } @requests ], [ 1, 2 ], 'as the second attempt');
is_deeply([ map { $_->{idempotency_key} } @requests ], [ $id, $id ], 'under the same key');
is(query(qq{SELECT outcome, dead FROM reflex_internal.effect_outcome o JOIN reflex_internal.effect e USING (seq)
	WHERE e.payload ->> 'url' LIKE '%killed%'}), 'unknown|f', 'the first stays on record as unknown');

# What was answered before a crash is not sent again.
my $answered = emit_to('/ok/answered');
$node->poll_query_until('postgres', "SELECT state = 'completed' FROM reflex.effects WHERE id = '$answered'");
query('CHECKPOINT');
$node->kill9;
start_again();
ok($peer->wait_for(3, '/hang/killed'), 'a third attempt after a second crash');

# A worker that is ended counts as an attempt too: this
# one was the last.
query("SELECT pg_terminate_backend(pid) $workers");
ok($node->poll_query_until('postgres', "SELECT state = 'dead' FROM reflex.effects WHERE id = '$id'"),
	'three attempts that ended with their worker make it dead');
is(scalar @{ $peer->requests('/hang/killed') }, 3, 'without a fourth');
is(query(qq{SELECT string_agg(outcome || dead, ',' ORDER BY attempt) FROM reflex_internal.effect_outcome o
	JOIN reflex_internal.effect e USING (seq) WHERE e.payload ->> 'url' LIKE '%killed%'}),
	'unknownfalse,unknownfalse,unknowntrue', 'each is on record');
is(scalar @{ $peer->requests('/ok/answered') }, 1, 'what was answered was sent once');

$node->stop('fast');
$peer->stop;
done_testing();
