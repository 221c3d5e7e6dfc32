# What the functions of a kind do and fail to do: outcomes and deaths are one
# transaction with the settlement, and a function that fails hurts nobody else.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use HostileServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = HostileServer->start;
my $node = PostgreSQL::Test::Cluster->new('kinds');
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'reflex'
reflex.allowed_hosts = '127.0.0.1'
reflex.event_retry_base_delay = '20ms'
reflex.databases = 'nowhere'
CONF
$node->start;
my $url = $peer->url('');
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION reflex;
CREATE TABLE seen (effect uuid, what text);
CREATE FUNCTION request(uuid, text, jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
BEGIN
	IF \$3 ->> 'request' = 'raise' THEN RAISE EXCEPTION 'request raised'; END IF;
	IF \$3 ->> 'request' = 'null' THEN RETURN NULL; END IF;
	RETURN jsonb_build_object('url', '$url' || (\$3 ->> 'path'), 'method', 'GET', 'accept', '[404]'::jsonb);
END \$\$;
CREATE FUNCTION outcome(uuid, text, jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
BEGIN
	INSERT INTO public.seen VALUES (\$1, concat_ws(' ', 'outcome', \$4 ->> 'status', \$4 -> 'headers' ->> 'content-type', \$4 ->> 'body'));
	IF \$3 ->> 'outcome' = 'raise' THEN RAISE EXCEPTION 'outcome raised'; END IF;
	RETURN \$3 -> 'outcome';
END \$\$;
CREATE FUNCTION dead(uuid, text, jsonb, text) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
	INSERT INTO public.seen VALUES (\$1, 'dead ' || \$4);
	IF \$3 ->> 'dead' = 'raise' THEN RAISE EXCEPTION 'dead raised'; END IF;
END \$\$;
INSERT INTO reflex_internal.effect_kind VALUES ('test', false, 'public.request', 'public.outcome', 'public.dead'),
	('test.plain', false, 'public.request', NULL, NULL);
SQL

sub emit
{
	my ($payload, $kind) = @_;
	$kind //= 'test';
	return $node->safe_psql('postgres', "SELECT reflex_internal.emit_effect('$kind', '$payload', 's')");
}

my $ok = '"outcome": {"verdict": "ok"}';
my %id = (
	good => emit("{\"path\": \"/ok\", $ok}"),
	raises => emit('{"path": "/ok", "outcome": "raise"}'),
	speechless => emit('{"path": "/ok"}'),
	dead => emit('{"path": "/ok", "outcome": {"verdict": "dead", "error": "said so"}}'),
	unburied => emit('{"path": "/ok", "dead": "raise", "outcome": {"verdict": "dead", "error": "said so"}}'),
	unknown => emit('{"path": "/ok", "outcome": {"verdict": "unknown", "error": "who knows", "delay_ms": 0}}'),
	unmade => emit('{"request": "raise"}'),
	formless => emit('{"request": "null"}'),
	unheard => emit('{"path": "/empty"}'),
	accepted => emit('{"path": "/status/404"}', 'test.plain'),
	nobody => emit('{}', 'no.such.kind'),
	recorded => emit('{"path": "/ok/recorded"}', 'test.plain'));

# One whose outcome is on record, but whose ack was lost with the server.
$node->safe_psql('postgres', <<"SQL");
INSERT INTO reflex_internal.effect_attempt SELECT seq, 1, now(), 1 FROM reflex_internal.effect WHERE payload ->> 'path' = '/ok/recorded';
INSERT INTO reflex_internal.effect_outcome SELECT seq, 1, now(), 'completed', false FROM reflex_internal.effect WHERE payload ->> 'path' = '/ok/recorded';
SQL
$node->append_conf('postgresql.conf', "reflex.databases = '*'");
$node->reload;

sub settles
{
	my ($which, $state, $attempts, $error) = @_;
	$node->poll_query_until('postgres', "SELECT state = '$state' FROM reflex.effects WHERE id = '$id{$which}'");
	my $row = $node->safe_psql('postgres', "SELECT state, attempts, last_error FROM reflex.effects WHERE id = '$id{$which}'");
	return like($row, qr/^\Q$state|$attempts|\E$error$/, "$which: $state");
}

sub seen
{
	return $node->safe_psql('postgres', "SELECT string_agg(what, ',') FROM seen WHERE effect = '$id{$_[0]}'");
}

settles('good', 'completed', 1, '');
is(seen('good'), 'outcome 200 application/json {"ok": true}', 'its outcome function saw the answer');
settles('raises', 'dead', 3, 'the answer could not be taken: outcome raised');
is(seen('raises'), 'dead the answer could not be taken: outcome raised', 'what it did before it raised is undone');
settles('speechless', 'dead', 3, '.*gave no verdict');
settles('dead', 'dead', 1, 'said so');
is(seen('dead'), 'outcome 200 application/json {"ok": true},dead said so', 'outcome and death in one');
settles('unburied', 'dead', 1, 'said so');
is(seen('unburied'), 'outcome 200 application/json {"ok": true}', 'a dead function that raises keeps nothing alive');
settles('unknown', 'dead', 3, 'who knows');
settles('unmade', 'dead', 3, 'request raised');
is(seen('unmade'), 'dead request raised', 'its kind is told');
settles('formless', 'dead', 1, '.*gave no request');
settles('unheard', 'dead', 3, '.+');
like(seen('unheard'), qr/^dead /, 'no outcome function without an answer');
settles('accepted', 'completed', 1, '');
settles('nobody', 'dead', 1, 'unknown kind of effect "no.such.kind"');
settles('recorded', 'completed', 1, '');
is(scalar @{ $peer->requests('/ok/recorded') }, 0, 'what is known to be completed is not sent again');

is($node->safe_psql('postgres', "SELECT count(*) FROM reflex_internal.effect_outcome WHERE outcome = 'unknown'"),
	'6', 'unknown is on record for each attempt');
is($node->safe_psql('postgres', 'SELECT count(*) FROM reflex_internal.effect_attempt LEFT JOIN reflex_internal.effect_outcome o USING (seq, attempt) WHERE o.seq IS NULL'),
	'0', 'every attempt has its outcome');

# A purged dead letter stays dead, a new life of the extension starts clean.
is($node->safe_psql('postgres', "SELECT reflex.dlq_purge('reflex.effects', '$id{dead}')"), '1', 'dlq_purge');
settles('dead', 'dead', 1, 'said so');
is($node->safe_psql('postgres', <<"SQL"), 't', 'DROP and CREATE EXTENSION in one session');
DO 'BEGIN PERFORM reflex.emit(''http'', ''{"url": "$url/ok/anew"}''); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END';
DROP EXTENSION reflex;
CREATE EXTENSION reflex;
SELECT reflex.emit('http', '{"url": "$url/ok/anew"}') IS NOT NULL;
SQL
ok($peer->wait_for(1, '/ok/anew', 30), 'and effects go on');

$node->stop;
$peer->stop;
done_testing();
