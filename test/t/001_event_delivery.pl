# Events and their delivery, over sessions, crashes and restarts.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $node = start_node('main', 'restart_after_crash' => 'on', 'max_connections' => 80);

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

# The types that a subscription has to give right now, acked or not.
sub receive
{
	my ($subscription, %how) = @_;
	my $ack = $how{ack} // 1 ? ', reflex.ack(r.token)' : '';
	my $lease = $how{lease} // '30 s';
	return sql("SELECT string_agg(type || ' ' || attempt, ',' ORDER BY seq)
		FROM (SELECT type, attempt, seq $ack FROM reflex.receive('$subscription', 100, '$lease') r) x");
}

sub publish
{
	my ($type) = @_;
	sql("SELECT reflex.publish('$type')");
	return;
}

sql('CREATE EXTENSION reflex');
sql(q{CREATE FUNCTION clock_advance(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance'});
sql("SELECT reflex.subscribe('s', max_attempts => 3, retry_base_delay => '0')");
# The very first publisher idles: the child it needs is not made in its transaction.
my $idle = $node->background_psql('postgres');
$idle->query_safe("BEGIN; SELECT reflex.publish('zero')");
publish('begin');
is(receive('s'), 'begin 1', 'even the first publisher delays nobody');
$idle->query_safe('COMMIT');
is(receive('s'), 'zero 1', 'and is heard when it commits');

# A publisher that rolls back leaves nothing.
sql("BEGIN; SELECT reflex.publish('never'); ROLLBACK");
sql("BEGIN; SELECT reflex.publish('kept'); SAVEPOINT a; SELECT reflex.publish('undone'); ROLLBACK TO a; COMMIT");
is(receive('s'), 'kept 1', 'what is rolled back is never delivered');

# A publisher that idles in its transaction delays nobody.
$idle->query_safe("BEGIN; SELECT reflex.publish('idle')");
publish('one');
publish('two');
is(receive('s'), 'one 1,two 1', 'an idle publisher delays no other event');
sql("SELECT reflex.subscribe('from_now')");
publish('three');
$idle->query_safe('COMMIT');
is(receive('s'), 'idle 1,three 1', 'its own event arrives when it commits');
is(receive('from_now'), 'idle 1,three 1', 'also where one subscribed meanwhile: it committed after');
is(receive('s') . receive('from_now'), '', 'and once');

# The same with one that ends badly.
$idle->query_safe("BEGIN; SELECT reflex.publish('lost')");
publish('four');
is(receive('s'), 'four 1', 'not this one either');
$idle->query_safe('ROLLBACK');
publish('five');
is(receive('s'), 'five 1', 'what it held is passed over');

# Publishers of one session take turns, those of others do not wait.
$idle->query_safe("BEGIN; SELECT reflex.publish('first', session => 'chat')");
my $next = $node->background_psql('postgres');
$next->query_until(qr/waiting/, "\\echo waiting\nSELECT reflex.publish('second', session => 'chat');\n\\echo published\n");
sql("SELECT reflex.publish('other', session => 'another')");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'transactionid'}),
	'the second publisher of a session waits for the first');
is(receive('s'), 'other 1', 'that of another session does not');
$idle->query_safe("SELECT reflex.publish('first too', session => 'chat'); COMMIT");
$next->query_until(qr/published/, '');
is(receive('s'), 'first 1,first too 1,second 1', 'positions in a session are in the order of its commits');
$_->quit foreach $idle, $next;

# A receiver that waits is woken by a commit, by a retry that is due, and by
# what another gives back.
sub waits_for
{
	my ($wait, $type, $name, $provide) = @_;
	my $waiter = $node->background_psql('postgres');
	my $start = time;

	$waiter->query_until(qr/waiting/,
		"\\echo waiting\nSELECT type || ' ' || attempt, reflex.ack(token) FROM reflex.receive('s', 1, wait => '$wait');\n\\echo received\n");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'Extension' AND query LIKE '%wait =>%' AND pid <> pg_backend_pid() AND state = 'active'}),
		"$name: it waits");
	$provide->();
	like($waiter->query_until(qr/received/, ''), qr/$type/, $name);
	cmp_ok(time - $start, '<', 20, 'without waiting to the end');
	$waiter->quit;
	return;
}
waits_for('30 s', 'wanted 1', 'woken by a commit', sub { publish('wanted') });
publish('failed_once');
$next = $node->background_psql('postgres');
$next->query_safe("BEGIN; SELECT token FROM reflex.receive('s')");
waits_for('30 s', 'failed_once 1', 'woken by what is given back', sub { $next->query_safe('ROLLBACK') });
publish('failed_twice');
$next->query_safe("BEGIN; SELECT reflex.nack(token, 'x', '10 ms') FROM reflex.receive('s')");
waits_for('30 s', 'failed_twice 2', 'woken by a retry', sub { $next->query_safe('COMMIT') });
$next->quit;
is($node->psql('postgres', "SET statement_timeout = '50 ms'; SELECT * FROM reflex.receive('s', wait => '30 s')"), 3, 'a waiting receiver can be cancelled');

# A receiver that is killed with its lease out.
publish('orphan');
my $receiver = $node->background_psql('postgres', on_error_die => 0);
is($receiver->query_safe("SELECT type FROM reflex.receive('s', 1, '10 s')"), 'orphan', 'a receiver takes an event');
my $pid = $receiver->query_safe('SELECT pg_backend_pid()');
sql("SELECT pg_terminate_backend($pid)");
is(receive('s'), '', 'nobody else gets it while the lease lasts');
sql('SELECT clock_advance(11000000)');
is(receive('s'), 'orphan 2', 'it comes again after the lease');
sql('SELECT clock_advance(60000000)');
is(receive('s'), '', 'once');
eval { $receiver->quit };

# A receiver that dies inside its transaction has not received at all.
publish('undecided');
$receiver = $node->background_psql('postgres', on_error_die => 0);
$receiver->query_safe("BEGIN; SELECT reflex.ack(token) FROM reflex.receive('s', 1)");
$pid = $receiver->query_safe('SELECT pg_backend_pid()');
sql("SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)"), 'it is gone');
is(receive('s'), 'undecided 1', 'what it had is given back at once, uncounted');
eval { $receiver->quit };

# Fifty publish the same key at once: there is one event.
my $script = $node->basedir . '/same_key.sql';
append_to_file($script, "SELECT reflex.publish('same', dedupe_key => 'race');\n");
$node->command_ok([ 'pgbench', '-n', '-c', '50', '-j', '2', '-t', '2', '-f', $script, $node->connstr('postgres') ], 'a race of fifty');
is(receive('s'), 'same 1', 'is won by one');

# A publisher who idles with a key holds up who comes with the same key, and
# when he rolls back it is theirs.
$idle = $node->background_psql('postgres');
$idle->query_safe("BEGIN; SELECT reflex.publish('mine', dedupe_key => 'contended')");
$next = $node->background_psql('postgres');
$next->query_until(qr/waiting/, "\\echo waiting\nSELECT reflex.publish('theirs', dedupe_key => 'contended');\n\\echo published\n");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'transactionid'}),
	'the second publisher of a key waits for the first');
$idle->query_safe('ROLLBACK');
$next->query_until(qr/published/, '');
is(receive('s'), 'theirs 1', 'and is the first when that rolls back');
$_->quit foreach $idle, $next;
sql("SELECT reflex.publish('postponed', deliver_at => now() + interval '2 h')");

# The server is lost: what was settled stays so, what was out comes again, and
# attempts are remembered.
publish($_) foreach qw(settled out failed poison);
sql(q{SELECT reflex.ack(token) FROM reflex.receive('s', 1)});
sql(q{SELECT type FROM reflex.receive('s', 1)});
sql(q{SELECT reflex.nack(token, 'first', '1 h') FROM reflex.receive('s', 1)});
sql(q{SELECT reflex.nack(token, 'no', '0') FROM reflex.receive('s', 1)}) foreach 1 .. 3;
sql("SELECT reflex.subscribe('behind', start_at => 'beginning')");
$node->stop('immediate');
$node->start;
publish('after');
is(sql("SELECT string_agg(type || ' ' || attempt, ',') FROM reflex.receive('s', 1)"), 'out 1', 'what was out comes again');
is(receive('s'), 'after 1', 'with what is new, and nothing that was settled');
sql('SELECT clock_advance(3700000000)');
like(receive('s'), qr/failed 2/, 'a waiting retry survives with its attempts');
is(sql("SELECT type, attempts, jsonb_array_length(errors) FROM reflex.dlq_list('s')"), 'poison|3|3', 'so do dead letters');
like(receive('behind'), qr/^zero 1,begin 1,kept 1,idle 1,one 1,two 1,/, 'a subscription that has read nothing begins at its beginning');

sql('SELECT clock_advance(3700000000)');
publish('wakes the worker');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM reflex.events WHERE type = 'postponed'}), 'a delayed event survives, too');
is(receive('s'), 'wakes the worker 1,postponed 1', 'and comes once');

# Of a batch that lapsed one event is settled, and then the journal is compacted:
# that one stays settled.
sql(q{CREATE FUNCTION compact_at(int) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_compact_at'});
sql("SELECT reflex.subscribe('lapses', max_attempts => 9)");
publish($_) foreach qw(half other_half);
is(receive('lapses', ack => 0, lease => '1 s'), 'half 1,other_half 1', 'a batch is out');
sql('SELECT clock_advance(2000000)');
is(sql("SELECT string_agg(type, ',') FROM reflex.receive('lapses', 2, '1 h')"), 'half,other_half', 'and lapses');
sql('SELECT clock_advance(3700000000)');
is(sql("SELECT reflex.ack(token) FROM reflex.receive('lapses', 1, '1 h')"), 't', 'one of it is settled');
is(receive('s'), 'half 1,other_half 1', '(elsewhere both are)');
my $generation = q{SELECT substr(relname, 10) FROM pg_class WHERE relkind = 'r' AND relname ~ '^delivery_[0-9]+$' ORDER BY 1};
my $before = sql($generation);
sql('SELECT compact_at(1); SELECT clock_advance(11000000)');
ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname = 'delivery_$before')"),
	'the journal is compacted');
$node->stop('immediate');
$node->start;
is(receive('lapses'), 'other_half 3', 'after a crash the other one comes again');

# A backend is killed -9: all others restart, shared memory is made anew.
publish('before_kill');
$pid = sql('SELECT pid FROM pg_stat_activity WHERE application_name = $$reflex sql worker$$');
my $victim = $node->background_psql('postgres', on_error_die => 0);
$victim->query_safe("BEGIN; SELECT reflex.publish('in_flight')");
kill 'KILL', $victim->query_safe('SELECT pg_backend_pid()');
ok($node->poll_query_until('postgres', "SELECT pid <> $pid FROM reflex.workers WHERE kind = 'sql' AND state = 'sleeping'"),
	'the server recovers, and its workers with it');
eval { $victim->quit };
publish('after_kill');
is(receive('s'), 'before_kill 1,after_kill 1', 'events outlive it, a running publisher does not');

# Positions are never given twice.
is(sql('SELECT count(*) - count(DISTINCT seq) FROM reflex.events'), '0', 'no position was given twice');
is(sql(q{SELECT count(*) FROM (SELECT created_at < lag(created_at) OVER (ORDER BY seq) AS back FROM reflex.events) x WHERE back}),
	'0', 'created_at never goes back');

# A dump restores, with positions that go on.
my $dump = $node->backup_dir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE copy');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('copy') ], 'restore');
my $count = sql('SELECT count(*) FROM reflex.events');
is($node->safe_psql('copy', 'SELECT count(*) FROM reflex.events'), $count, 'the copy has every event');
is($node->safe_psql('copy', q{SELECT count(*) FROM reflex.receive('s', 100)}), '0', 'and knows what was settled');
$node->safe_psql('copy', q{SELECT reflex.publish('in_copy')});
is($node->safe_psql('copy', q{SELECT type FROM reflex.receive('s', 100)}), 'in_copy', 'and goes on from there');

$node->stop;
done_testing();
