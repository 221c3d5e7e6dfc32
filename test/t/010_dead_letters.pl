# Dead letters that were put back, over crashes: what was edited, what is due
# when.  And what rules and effects do with an edited payload.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use HostileServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $peer = HostileServer->start;
my $node = start_node('main', 'reflex.allowed_hosts' => $peer->host, 'reflex.event_max_attempts' => 1);

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

# What a subscription has to give right now, as 'type payload attempt'.
sub receive
{
	my ($subscription, %how) = @_;
	my $then = $how{then} // 'reflex.ack(token)';
	my $max = $how{max} // 100;
	return sql("SELECT string_agg(type || ' ' || payload || ' ' || attempt, ',')
		FROM (SELECT *, $then FROM reflex.receive('$subscription', $max)) x");
}

sub advance
{
	my ($seconds) = @_;
	sql("SELECT clock_advance(${seconds}000000)");
	return;
}

# Publishes these and lets all of them die.
sub bury
{
	my ($subscription, @types) = @_;
	sql("SELECT reflex.publish('$_', '1')") foreach @types;
	receive($subscription, then => "reflex.nack(token, 'no', '0')") foreach 1 .. 2;
	is(sql("SELECT count(*) FROM reflex.dlq_list('$subscription')"), scalar @types, 'they are dead letters');
	return;
}

sql('CREATE EXTENSION reflex');
sql(q{CREATE FUNCTION clock_advance(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance'});
sql(q{CREATE FUNCTION compact_at(int) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_compact_at'});
sql("SELECT reflex.subscribe('s', max_attempts => 2, retry_base_delay => '0')");

# An edited payload: at once, after a failure, after a lapse, each time over a crash.
bury('s', 'edited');
sql(q{SELECT reflex.dlq_retry(event_id, payload => '2') FROM reflex.dlq_list('s')});
crash();
is(receive('s', then => "reflex.nack(token, 'no', '1 h')"), 'edited 2 1', 'the edited payload is delivered after a crash');
crash();
is(receive('s'), '', 'its retry waits');
advance(3700);
is(receive('s', then => 'true'), 'edited 2 2', 'and has the edited payload, too');
crash();
advance(3700);    # the tests' clock is in the memory that was lost
is(receive('s', then => 'true'), 'edited 2 2', 'what was out at the crash comes again with it');
advance(31);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM reflex.dlq_list('s')}),
	'its lease lapses, and it is a dead letter again');
is(sql(q{SELECT payload, edited_payload, jsonb_path_query_array(errors, '$[*].error') FROM reflex.dlq_list('s')}),
	'1|2|["no", "lease expired"]', 'with what was published, what was delivered, and what happened since');
sql(q{SELECT reflex.dlq_retry(event_id) FROM reflex.dlq_list('s')});
is(receive('s'), 'edited 2 1', 'put back as it is, it is still the edited one');
crash();
is(receive('s'), '', 'once');

# The journal is compacted while an edited one waits.
bury('s', 'compacted');
sql(q{SELECT reflex.dlq_retry(event_id, payload => '3') FROM reflex.dlq_list('s')});
sql('SELECT compact_at(0)');
my $old = sql(q{SELECT max(generation) FROM reflex_internal.delivery});
advance(20);
ok($node->poll_query_until('postgres', "SELECT min(generation) > $old FROM reflex_internal.delivery"), 'the journal is compacted');
crash();
is(receive('s'), 'compacted 3 1', 'the edited payload survives that');

# At a limited rate, over a crash in the middle.
bury('s', map { "rate$_" } 1 .. 5);
is(sql(q{SELECT reflex.dlq_retry_all('s', per_second => 0.001)}), 5, 'all are put back');
is(receive('s'), 'rate1 1 1', 'the first at once');
advance(1001);
is(receive('s'), 'rate2 1 1', 'the second when its time has come');
crash();
is(receive('s'), '', 'after a crash the others still wait');
advance(2002);
is(receive('s'), 'rate3 1 1', 'each for its own time');
advance(1001);
is(receive('s'), 'rate4 1 1', 'one');
advance(1001);
is(receive('s'), 'rate5 1 1', 'after the other');
is(sql(q{SELECT count(*) FROM reflex.dlq_list()}), 0, 'and none is left');

# Putting back is part of its transaction.
bury('s', 'undecided');
my $session = $node->background_psql('postgres', on_error_die => 0);
$session->query_safe(q{BEGIN; SELECT reflex.dlq_retry_all('s')});
is(receive('s'), '', 'nothing before the commit');
crash();
eval { $session->quit };
is(sql(q{SELECT count(*) FROM reflex.dlq_list('s')}), 1, 'it is a dead letter still');
is(receive('s'), '', 'and nothing comes');

# A rule's failure is put back edited: the rule sees the edited payload.
sql(q{CREATE TABLE seen (n int CHECK (n > 0));
	CREATE FUNCTION see(event jsonb) RETURNS void LANGUAGE sql SET search_path = public
		AS 'INSERT INTO seen SELECT (event->''payload''->>''n'')::int';
	SELECT reflex.create_rule('see', '{"type": ["see"]}', action => '{"function": "public.see"}')});
sql(q{SELECT reflex.publish('see', '{"n": -1}')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM reflex.dlq_list('rule:see')}), 'a rule fails');
sql(q{SELECT reflex.dlq_retry(event_id, payload => '{"n": 1}') FROM reflex.dlq_list('rule:see')});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM seen WHERE n = 1'), 'and succeeds on the edited payload');

# An effect that went to the wrong place.
my ($wrong, $right) = ($peer->url('/status/404'), $peer->url('/ok/right'));
sql(qq{SELECT reflex.emit('http', '{"url": "$wrong"}')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM reflex.dlq_list('reflex.effects')}), 'an effect is refused');
sql(qq{SELECT reflex.dlq_retry(event_id, payload => '{"url": "$right"}') FROM reflex.dlq_list('reflex.effects')});
ok($node->poll_query_until('postgres', q{SELECT state = 'completed' FROM reflex.effects}), 'and done at the edited address');
is(scalar @{ $peer->requests('/ok/right') }, 1, 'once');

$node->stop;
$peer->stop;
done_testing();
