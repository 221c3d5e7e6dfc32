# Old events go, whole children at a time, and never what is still needed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $node = start_node(
	'main',
	'reflex.event_retention' => '160s',
	'reflex.poll_interval' => '50ms');

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

sub children
{
	return sql(q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
		WHERE relkind = 'r' AND relname ~ '^event_[0-9]+$'});
}

# The worker's upkeep comes round every ten seconds of its clock.
sub advance
{
	my ($seconds) = @_;
	return sql("SELECT clock_advance(${seconds}::bigint * 1000000)");
}

sql('CREATE EXTENSION reflex');
sql(q{CREATE FUNCTION clock_advance(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance'});
sql("SELECT reflex.subscribe('slow'); SELECT reflex.subscribe('dead', max_attempts => 1)");
sql("SELECT reflex.publish('first'); SELECT reflex.publish('second')");
sql("SELECT reflex.nack(token, 'no') FROM reflex.receive('dead', 1)");
sql("SELECT reflex.ack(token) FROM reflex.receive('dead', 1)");

# A sixteenth of the retention later a new child is begun.
advance(15);
ok($node->poll_query_until('postgres', 'SELECT reflex_internal.log_next(0) >= 1 << 22'), 'the log moves on to its next child');
sql("SELECT reflex.publish('third')");
is(sql("SELECT max(seq) >= 1 << 22 FROM reflex.events"), 't', 'and goes on there');
is(sql("SELECT string_agg(lag_events::text, ' ' ORDER BY subscription) FROM reflex.subscriptions WHERE NOT internal"),
	'1 3', 'positions that were left out are no lag');

# Past its time, but a subscription has not read it.
advance(200);
advance(20);
ok($node->poll_query_until('postgres', 'SELECT reflex_internal.log_next(0) >= 2 << 22'), 'time passes');
like(children(), qr/\bevent_0\b/, 'what a subscription has not read stays');

# What is out or waits to be tried again is needed, too.
is(sql("SELECT string_agg(type, ' ') FROM reflex.receive('slow', 1, '1 h')"), 'first', 'a slow consumer takes one');
sql("SELECT reflex.nack(token, 'not now', '1 h') FROM reflex.receive('slow', 1)");
sql("SELECT reflex.ack(token) FROM reflex.receive('slow', 1)");
is(sql("SELECT reflex.ack(token) FROM reflex.receive('dead', 10)"), 't', 'the other one has read everything');
advance(11);
advance(11);
like(children(), qr/\bevent_0\b/, 'what is out and what waits for its retry stays');

# An idle publisher and an idle reader hold up nothing but the drop itself.
my $idle = $node->background_psql('postgres');
$idle->query_safe("BEGIN; SELECT count(*) FROM reflex.events WHERE seq < 10");
advance(4000);
is(sql("SELECT count(reflex.ack(token)) FROM reflex.receive('slow', 10)"), '2', 'the slow consumer catches up');
advance(11);
takes_less(1, sub { sql("SELECT reflex.publish('meanwhile')") }, 'publishing does not wait for a drop');
like(children(), qr/\bevent_0\b/, 'nobody reads from under a reader');
$idle->query_safe('COMMIT');
advance(11);
ok( $node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname = 'event_0')}),
	'then it goes');
is(sql("SELECT string_agg(type, ' ') FROM reflex.events"), 'meanwhile', 'what is young stays');
is(sql("SELECT type, payload FROM reflex.dlq_list('dead')"), 'first|{}', 'dead letters have their own copy');
sql("SELECT reflex.dlq_retry(event_id) FROM reflex.dlq_list('dead')");
is(sql("SELECT type, payload, reflex.ack(token) FROM reflex.receive('dead', 1)"), 'first|{}|t', 'which is delivered when one is put back');
$idle->quit;

# A restart finds everything where it was.
$node->restart;
sql("SELECT reflex.publish('after')");
is(sql("SELECT string_agg(type, ' ' ORDER BY seq) FROM reflex.receive('slow', 10)"), 'meanwhile after', 'and goes on');

$node->stop;
done_testing();
