# Rules fire: once for each event, as their owner, apart from each other, and
# again after they failed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('rules');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'reflex'
reflex.event_retry_base_delay = '20ms'
reflex.handler_timeout = '1s'
reflex.workers_per_database = 2
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION reflex;
CREATE ROLE owner LOGIN; GRANT reflex_admin TO owner;
CREATE TABLE hit (rule text, type text, role text, "current" text, path text, trace text, payload jsonb, at timestamptz);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE switch (up boolean); INSERT INTO switch VALUES (false);
GRANT ALL ON hit, parent, child, switch TO owner;
CREATE SCHEMA owner AUTHORIZATION owner;
SET ROLE owner;
CREATE FUNCTION owner.hit(event jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.hit VALUES ('hit', event ->> 'type', current_setting('role'), current_user,
		current_setting('search_path'), current_setting('reflex.traceparent'), event -> 'payload', now()) $$;
CREATE FUNCTION owner.act(event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.hit (rule, payload) VALUES ('act', event -> 'payload');
	EXECUTE event #>> '{payload,sql}';
END $$;
CREATE FUNCTION owner.switched(event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF NOT (SELECT up FROM public.switch) THEN RAISE EXCEPTION 'the switch is down'; END IF;
	INSERT INTO public.hit (rule, payload) VALUES ('switched', event -> 'payload');
END $$;
SELECT reflex.create_rule('hit', '{"type": ["order.*", "b"]}', action => '{"function": "owner.hit"}');
SELECT reflex.create_rule('act', '{"type": ["act"]}', action => '{"function": "owner.act"}');
SELECT reflex.create_rule('act_too', '{"type": ["act"]}', action => '{"publish": "acted", "payload": {"n": {"$": "$.payload.n"}}}');
SELECT reflex.create_rule('republish', '{"type": ["a"]}',
	action => '{"publish": "b", "payload": {"x": {"$": "$.payload.x"}, "none": {"$": "$.payload.y"}, "l": [1, {"$": "$.type"}]}}');
SELECT reflex.create_rule('switched', '{"type": ["switched"]}', action => '{"function": "owner.switched"}');
SQL

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $expected, $name) = @_;
	$node->poll_query_until('postgres', $query, $expected);
	return is(sql($query), $expected, $name);
}

# What a handler meets.
my $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
sql(qq{SELECT reflex.publish('order.paid', '{"n": 1}', meta => '{"traceparent": "$trace"}')}
);
becomes('SELECT count(*) FROM hit', '1', 'a matching event fires');
is( sql('SELECT type, role, "current", path, trace, payload FROM hit'),
	"order.paid|owner|owner|pg_catalog, pg_temp|$trace|" . '{"n": 1}',
	'as its owner, in its trace, with a safe search_path');
is( sql("SELECT at > now() - interval '1 min' AND at > pg_postmaster_start_time() FROM hit"
	),
	't',
	'now() is now');
sql(q{TRUNCATE hit; SELECT reflex.publish(t) FROM unnest('{order,orders.x,order,order.}'::text[]) t; SELECT reflex.publish('order.last')}
);
becomes(
	"SELECT string_agg(type, ' ') FROM hit",
	'order.last',
	'other types do not');

# Templates, and rules that feed rules.
sql(q{TRUNCATE hit; SELECT reflex.publish('a', '{"x": {"deep": [1]}}')});
becomes(
	'SELECT payload FROM hit',
	'{"l": [1, "a"], "x": {"deep": [1]}, "none": null}',
	'a template is filled');

# Once for each, however many, in whatever transactions.
sql(q{TRUNCATE hit; SELECT count(reflex.publish('order.n', to_jsonb(n))) FROM generate_series(1, 1000) n}
);
$node->pgbench(
	'-n -c 4 -t 50',
	0,
	[qr/processed: 200/],
	[],
	'publishers',
	{
		'rules_publish' =>
		  q{SELECT reflex.publish('order.n', to_jsonb(2000 + :client_id))}
	});
becomes('SELECT count(*) FROM hit', '1200', 'every event fires');
is( sql('SELECT count(*) FROM hit WHERE payload::int <= 1000 GROUP BY payload HAVING count(*) > 1'
	),
	'',
	'and none twice');

# Only what commits, and what commits after the rule was made.
sql('TRUNCATE hit');
my $held = $node->background_psql('postgres');
$held->query_safe(q{BEGIN; SELECT reflex.publish('late.held')});
sql(q{SELECT reflex.publish('late.early')});
sql(q{BEGIN; SELECT reflex.publish('order.never'); ROLLBACK});
sql(q{SET ROLE owner; SELECT reflex.create_rule('late', '{"type": ["late.*"]}', action => '{"function": "owner.hit"}')}
);
$held->query_safe('COMMIT');
$held->quit;
sql(q{SELECT reflex.publish('late.after')});
becomes(
	"SELECT string_agg(type, ' ' ORDER BY type) FROM hit",
	'late.after late.held',
	'a rule sees what commits after it');
sql(q{TRUNCATE hit; SELECT reflex.disable_rule('late')});
sql(q{SELECT reflex.publish('late.off')});
sql(q{SELECT reflex.enable_rule('late')});
sql(q{SELECT reflex.publish('late.on')});
becomes(
	"SELECT string_agg(type, ' ' ORDER BY type) FROM hit",
	'late.on',
	'and not what committed while it was disabled');

# Failures: undone, apart from other rules, retried, dead in the end.
sub act
{
	my ($sql) = @_;
	sql('TRUNCATE hit');
	return sql(
		q{SELECT reflex.publish('act', jsonb_build_object('n', 1, 'sql', $act$}
		  . $sql
		  . q{$act$))});
}

sub dies_with
{
	my ($sql, $error, $name) = @_;
	my $id = act($sql);
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM reflex.dlq_list('rule:act') WHERE event_id = '$id'"
	);
	like(
		sql("SELECT error FROM reflex.dlq_list('rule:act') WHERE event_id = '$id'"
		),
		$error, $name);
	is( sql("SELECT attempts FROM reflex.dlq_list('rule:act') WHERE event_id = '$id'"
		),
		'3',
		"$name: after three attempts");
	is(sql("SELECT count(*) FROM hit"), '0', "$name: nothing is left of it");
	return $id;
}

sql(q{SELECT reflex.subscribe('acted', '{acted}')});
dies_with('SELECT 1/0', qr/division by zero \(SQLSTATE 22012\)/, 'an error');
is(sql(q{SELECT count(*) FROM reflex.receive('acted', 10)}),
	'1', 'another rule of the same event is not touched');
dies_with(
	'SELECT pg_sleep(30)',
	qr/handler ran longer than reflex.handler_timeout \(1000 ms\)/,
	'a handler that does not end');
dies_with(
	'INSERT INTO public.child VALUES (7)',
	qr/violates foreign key/,
	'a deferred constraint');
dies_with('RESET ROLE', qr/security-restricted|parameter "role"/,
	'RESET ROLE');
dies_with(
	'SET SESSION AUTHORIZATION postgres',
	qr/permission denied|security-restricted|parameter "session_authorization"/,
	'SET SESSION AUTHORIZATION');
dies_with(
	'SELECT count(*) FROM reflex_internal.secret',
	qr/permission denied for schema reflex_internal/,
	"reflex's own tables");
dies_with(
	'SELECT pg_read_file(\'PG_VERSION\')',
	qr/permission denied/,
	"a superuser's function");
act("SELECT set_config('work_mem', '64kB', false), set_config('search_path', 'public', false)"
);
becomes('SELECT count(*) FROM hit', '1', 'a handler that changes settings');
act("INSERT INTO public.hit (rule) SELECT 'changed' WHERE current_setting('work_mem') = '64kB' OR current_setting('search_path') <> 'pg_catalog, pg_temp'"
);
becomes(
	"SELECT string_agg(rule, ' ') FROM hit",
	'act',
	'changes them for itself alone');

# A retry that succeeds, and a dead letter that does.
sql(q{TRUNCATE hit});
my $id = sql(q{SELECT reflex.publish('switched')});
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM reflex.dlq_list('rule:switched')");
sql(q{UPDATE switch SET up = true});
is(sql("SELECT reflex.dlq_retry('$id')"), '1', 'dlq_retry takes it');
becomes('SELECT count(*) FROM hit', '1', 'and it is done');

# Whoever is gone can't act.
sql(q{CREATE ROLE brief LOGIN; GRANT reflex_admin TO brief; GRANT INSERT ON hit TO brief;
	SET ROLE brief; SELECT reflex.create_rule('brief', '{"type": ["brief"]}', action => '{"publish": "b"}')}
);
sql(q{REVOKE INSERT ON hit FROM brief; DROP ROLE brief});
$id = sql(q{SELECT reflex.publish('brief')});
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM reflex.dlq_list('rule:brief')");
like(
	sql("SELECT error FROM reflex.dlq_list('rule:brief')"),
	qr/role "brief", which owns rule "brief", does not exist/,
	'a rule without owner');

# A transaction that can't commit: the guilty one fails alone.
sql(q{SELECT reflex.create_provider('none', base_url => 'http://127.0.0.1:9/v1');
	SELECT reflex.create_agent('asked', 'none:x');
	SET ROLE owner; SELECT reflex.create_rule('ask', '{"type": ["ask"]}', action => '{"agent": "asked", "input": {"$": "$.payload"}}')}
);
sql(q{CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN IF NEW.input = '"bad"' THEN RAISE 'not at commit'; END IF; RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON reflex_internal.run DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION at_commit()});
sql(q{SELECT reflex.publish('ask', to_jsonb(CASE n WHEN 7 THEN 'bad' ELSE n::text END)) FROM generate_series(1, 20) n}
);
becomes(
	'SELECT count(*), count(DISTINCT input) FROM reflex.runs',
	'19|19',
	'the others of its batch are done, once');
becomes("SELECT payload, attempts FROM reflex.dlq_list('rule:ask')",
	'"bad"|3', 'and it is dead');
like(
	sql("SELECT error FROM reflex.dlq_list('rule:ask')"),
	qr/not at commit/,
	'of what it did');
sql('DROP TRIGGER at_commit ON reflex_internal.run');

# A worker that is terminated in the middle of a handler loses and repeats nothing.
sql(q{TRUNCATE hit; ALTER SYSTEM SET reflex.handler_timeout = '20s'; SELECT pg_reload_conf()}
);
sql(q{SELECT reflex.publish('act', jsonb_build_object('sql', 'SELECT pg_sleep(0.3)')) FROM generate_series(1, 5)}
);
$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM hit");
sql(q{SELECT pg_terminate_backend(pid) FROM reflex.workers WHERE kind = 'sql'}
);
becomes('SELECT count(*) FROM hit',
	'5', 'after pg_terminate_backend the rest is done');

# The server, too.
sql(q{TRUNCATE hit; SELECT count(reflex.publish('order.crash', to_jsonb(n))) FROM generate_series(1, 300) n}
);
$node->stop('immediate');
$node->start;
becomes(
	'SELECT count(*) FROM hit',
	'300',
	'after a crash every event has fired');
is(sql('SELECT count(DISTINCT payload) FROM hit'), '300', 'once');

# Dropped rules leave nothing.
sql(q{SELECT reflex.drop_rule(name) FROM reflex.rules});
is( sql(q{SELECT count(*) FROM reflex_internal.subscription WHERE name LIKE 'rule:%'}
	),
	'0',
	'a dropped rule has no subscription');
is(sql(q{SELECT max(errors) FROM reflex.workers}),
	'0', 'no worker has had an error');

$node->stop;
done_testing();
