# A history under fire: publishers that commit, roll back and idle, consumers
# that ack, nack and let leases lapse, and a server that is killed in between.
# Afterwards the books must balance, for each of three subscriptions:
#
#	every event whose publisher committed was processed exactly once or is a
#	dead letter, exactly one of the two; none that rolled back was ever seen.
#	The ordered one has processed the events of each session in order.
#
# Both sides keep their own books in tables of the same transaction: `ledger`
# by the publisher, `done` by the consumer, who acks in the transaction that
# writes his result and rolls back when ack says no.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;
use Time::HiRes qw(time sleep);

my $rounds = $ENV{REFLEX_HISTORY_ROUNDS} // 4;
my $seed = $ENV{REFLEX_HISTORY_SEED} // int(time);
my $seconds = 3;
note "seed $seed, $rounds rounds of $seconds s (REFLEX_HISTORY_SEED, REFLEX_HISTORY_ROUNDS)";
srand($seed);

my $node = start_node('main', 'reflex.event_retry_base_delay' => '20ms', 'fsync' => 'off', 'max_connections' => 60);
$node->safe_psql('postgres', q{
	CREATE EXTENSION reflex;
	CREATE FUNCTION compact_at(int) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_compact_at';
	SELECT reflex.subscribe('one');
	SELECT reflex.subscribe('two', max_attempts => 2);
	SELECT reflex.subscribe('three', max_attempts => 2, ordered => true);
	CREATE TABLE ledger (id uuid PRIMARY KEY);
	CREATE TABLE done (no bigserial, subscription text, event_id uuid, session text, seq bigint);
	CREATE FUNCTION consume(s text, n int, chance float) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		r record;
		v int := 0;
	BEGIN
		FOR r IN SELECT * FROM reflex.receive(s, n, '200 ms') LOOP
			IF random() < chance THEN
				PERFORM reflex.nack(r.token, 'no luck');
			ELSIF random() < chance THEN
				CONTINUE;	-- let the lease lapse
			ELSE
				INSERT INTO done (subscription, event_id, session, seq) VALUES (s, r.event_id, r.session, r.seq);
				IF NOT reflex.ack(r.token) THEN
					RAISE EXCEPTION 'the token is not good any more';
				END IF;
				v := v + 1;
			END IF;
		END LOOP;
		RETURN v;
	END $$;
});

my %script = (
	publish => q{BEGIN;
INSERT INTO ledger SELECT reflex.publish('t.' || i, '{"n": 1}', session => 's' || (random() * 3000)::int) FROM generate_series(1, 1 + (random() * 3)::int) i;
\if :fail
ROLLBACK;
\else
COMMIT;
\endif
},
	idle => q{BEGIN;
INSERT INTO ledger SELECT reflex.publish('idle');
\sleep 150 ms
INSERT INTO ledger SELECT reflex.publish('idle', session => 'x');
COMMIT;
},
	one => "SELECT consume('one', 20, 0.05);\n",
	two => "SELECT consume('two', 5, 0.1);\n\\sleep 1 ms\n",
	three => "SELECT consume('three', 50, 0.05);\n",
	drain => "SELECT consume('three', 500, 0);\n",
);
$script{publish} = "\\set fail random(0, 9) = 0\n$script{publish}";

sub bench
{
	my ($name, $clients) = @_;
	my $file = $node->basedir . "/$name.sql";

	append_to_file($file, $script{$name}) unless -e $file;
	my $seed_arg = int(rand(1 << 30));
	return IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-T', $seconds, '--random-seed', $seed_arg, '-f', $file, $node->connstr('postgres') ],
		'>', '/dev/null', '2>', '/dev/null');
}

# Killed: a backend by -9 (all others restart), or the whole server.
sub kill_something
{
	my ($round) = @_;

	if ($round % 2)
	{
		my ($rc, $pid) = $node->psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' ORDER BY random() LIMIT 1");
		kill 'KILL', $pid if $rc == 0 && $pid;
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	return;
}

for my $round (1 .. $rounds)
{
	# Small generations of the journal, so that they come and go meanwhile.
	$node->safe_psql('postgres', 'SELECT compact_at(20)');
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM reflex.workers WHERE kind = 'sql'});
	my @running = (bench('publish', 3), bench('idle', 3), bench('one', 3), bench('two', 2), bench('three', 2));

	sleep(0.5 + rand($seconds - 1));
	kill_something($round);
	$_->finish foreach @running;
	ok($node->poll_query_until('postgres', 'SELECT true'), "round $round: the server is back");
}

# Faults off, and drain.  What is in order takes its turns.
for my $turn (1 .. 20)
{
	my $open = $node->safe_psql('postgres', q{SELECT lag_events FROM reflex.subscriptions WHERE subscription = 'three'});
	last if $open eq '0';
	bench('drain', 2)->finish;
}
ok( $node->poll_query_until('postgres', q{
	SELECT consume('one', 1000, 0) + consume('two', 1000, 0) + consume('three', 1000, 0) = 0 AND NOT EXISTS (
		SELECT l.id, s.name FROM ledger l, (VALUES ('one'), ('two'), ('three')) s (name)
		EXCEPT (SELECT event_id, subscription FROM done
			UNION ALL SELECT event_id, subscription FROM reflex.dead_letters))}),
	'drained: every committed event is processed or dead');

ok( $node->poll_query_until('postgres', q{SELECT max(substr(relname, 10)::int) > 1 FROM pg_class WHERE relname ~ '^delivery_[0-9]+$'}),
	'the journal was compacted meanwhile');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM ledger'), '>', 500, 'there was something to do');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT FROM done GROUP BY subscription, event_id HAVING count(*) > 1) x}),
	'0', 'none was processed twice');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT event_id FROM done EXCEPT SELECT id FROM ledger) x}),
	'0', 'none was processed whose publisher rolled back');
is($node->safe_psql('postgres', q{SELECT count(*) FROM done d JOIN reflex.dead_letters x USING (subscription, event_id)}),
	'0', 'none was processed and dead as well');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT FROM reflex.dead_letters GROUP BY subscription, event_id HAVING count(*) > 1) x}),
	'0', 'none is dead twice');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT seq < lag(seq) OVER (PARTITION BY session ORDER BY no) AS back
	FROM done WHERE subscription = 'three' AND session IS NOT NULL) x WHERE back}),
	'0', 'the events of each session were processed in order');
is($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM ledger) - (SELECT count(*) FROM reflex.events)}),
	'0', 'the log holds what was committed, no more and no less');
note $node->safe_psql('postgres', q{SELECT format('%s events, %s processed, %s dead', (SELECT count(*) FROM ledger),
	(SELECT count(*) FROM done), (SELECT count(*) FROM reflex.dead_letters))});

$node->stop;
done_testing();
