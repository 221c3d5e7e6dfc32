# Effects reach the world: what is sent, what is retried, what dies and how it
# is brought back.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use HostileServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = HostileServer->start;
my $node = PostgreSQL::Test::Cluster->new('effects');
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'reflex'
reflex.allowed_hosts = '127.0.0.1'
reflex.event_retry_base_delay = '50ms'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION reflex');

sub emit
{
	my ($kind, $payload) = @_;
	return $node->safe_psql('postgres', qq{SELECT reflex.emit('$kind', '$payload')});
}

sub emit_to
{
	my ($path, $more) = @_;
	my $url = $peer->url($path);
	return emit('http', qq({"url": "$url") . ($more ? ", $more}" : '}'));
}

sub effect
{
	my ($id, $columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM reflex.effects WHERE id = '$id'");
}

sub reaches
{
	my ($id, $state, $name) = @_;
	return ok($node->poll_query_until('postgres', "SELECT state = '$state' FROM reflex.effects WHERE id = '$id'"), $name)
	  || diag(effect($id, 'state, attempts, last_status, last_error'));
}

# Delivered, with the headers that say what it is.
my $id = emit_to('/ok/first', '"headers": {"X-Mine": "yes"}, "body": {"a": [1, "ü"]}');
reaches($id, 'completed', 'a request is delivered');
is(effect($id, 'attempts, last_status, last_error IS NULL, answer'), '1|200|t|{"ok": true}', 'and its answer kept');
my ($request) = @{ $peer->requests('/ok/first') };
is($request->{method}, 'POST', 'POST is the default');
my %header = map { lc $_ => $request->{headers}{$_} } keys %{ $request->{headers} };
is($header{'idempotency-key'}, $id, 'Idempotency-Key is the id of the effect');
is($header{'x-reflex-effect-id'}, $id, 'X-Reflex-Effect-Id');
is($header{'x-reflex-attempt'}, '1', 'X-Reflex-Attempt');
like($header{'traceparent'}, qr/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/, 'traceparent');
is($header{'user-agent'}, 'reflex/0.1.0', 'User-Agent');
is($header{'content-type'}, 'application/json', 'JSON is sent as JSON');
is($header{'x-mine'}, 'yes', 'headers of the caller');
like($request->{body}, qr/^\{"a": \[1, "\x{fc}"\]\}$/, 'the body in UTF-8');

$id = emit_to('/ok/text', '"method": "put", "body": "a=b"');
reaches($id, 'completed', 'a string is delivered');
($request) = @{ $peer->requests('/ok/text') };
is("$request->{method} $request->{body}", 'PUT a=b', 'as it is');

# The trace of whoever emitted it goes on.
my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
my $url = $peer->url('/ok/traced');
$node->safe_psql('postgres', qq{SET reflex.traceparent = '00-$trace-00f067aa0ba902b7-00';
	SELECT reflex.emit('http', '{"url": "$url"}')});
ok($peer->wait_for(1, '/ok/traced'), 'a traced request arrives');
like($peer->requests('/ok/traced')->[0]{traceparent}, qr/^00-$trace-(?!00f067aa0ba902b7)[0-9a-f]{16}-00$/,
	'in the trace of its session, as a span of its own');

# What is rolled back never happened; what follows shows that it would have by now.
$url = $peer->url('/ok/rolled-back');
$node->safe_psql('postgres', qq{BEGIN; SELECT reflex.emit('http', '{"url": "$url"}'); ROLLBACK});
reaches(emit_to('/ok/after'), 'completed', 'an effect after it is delivered');
is(scalar @{ $peer->requests('/ok/rolled-back') }, 0, 'a rolled-back effect is not');

# Retries.
$id = emit_to('/fail-then-ok/retried?n=2&status=500');
reaches($id, 'completed', '500 twice and then 200');
is(effect($id, 'attempts, last_status'), '3|200', 'are three attempts');
my @requests = @{ $peer->requests('/fail-then-ok/retried') };
is_deeply([ map { $_->{attempt} } @requests ], [ 1, 2, 3 ], 'numbered');
is(scalar(grep { $_->{idempotency_key} eq $id } @requests), 3, 'under one key');
my %spans = map { substr($_->{traceparent}, 36, 16) => 1 } @requests;
is(scalar keys %spans, 3, 'each a span of its own');

$id = emit_to('/status/400');
reaches($id, 'dead', '400 is dead');
is(effect($id, 'attempts, last_status, last_error'), '1|400|HTTP status 400', 'at once');
is($node->safe_psql('postgres', "SELECT count(*) FROM reflex.dlq_list('reflex.effects')"), '1', 'and a dead letter');

$id = emit_to('/status/429?retry_after=1');
reaches($id, 'dead', '429 with Retry-After');
@requests = @{ $peer->requests('/status/429') };
is(scalar @requests, 3, 'is tried again');
cmp_ok($requests[$_]{t} - $requests[ $_ - 1 ]{t}, '>=', 0.95, 'no sooner than it was asked to') foreach 1, 2;

# A peer that is down: tried, given up, brought back.
$peer->switch('receiver', 0);
$id = emit_to('/switch/receiver');
reaches($id, 'dead', 'a peer that stays down');
is(effect($id, 'attempts, last_status'), '3|503', 'after reflex.event_max_attempts');
$peer->switch('receiver', 1);
is($node->safe_psql('postgres', "SELECT reflex.dlq_retry('$id')"), '1', 'dlq_retry');
reaches($id, 'completed', 'delivers it');
is(effect($id, 'attempts, last_status'), '4|200', 'with the next attempt');
@requests = @{ $peer->requests('/switch/receiver') };
is_deeply([ map { $_->{attempt} } @requests ], [ 1 .. 4 ], 'as the peer sees it too');

my $closed = PostgreSQL::Test::Cluster::get_free_port();
$id = emit('http', qq({"url": "http://127.0.0.1:$closed/"}));
reaches($id, 'dead', 'a port where nobody listens');
is(effect($id, 'attempts, last_status IS NULL'), '3|t', 'is tried three times');
like(effect($id, 'last_error'), qr/connect/i, 'and the error says what failed');

# An answer that is lost leaves the attempt unknown, on record.
$id = emit_to('/reset-after');
reaches($id, 'dead', 'answers that are lost');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT outcome, ',') FROM reflex_internal.effect_outcome
	WHERE seq = (SELECT max(seq) FROM reflex_internal.effect)}), 'unknown', 'are unknown');

# Slack.
$node->safe_psql('postgres', sprintf(q{SELECT reflex.set_secret('hook', '%s')}, $peer->url('/ok/services/T0/SENTINEL')));
$id = emit('slack', '{"webhook": "hook", "text": "hello"}');
reaches($id, 'completed', 'a Slack message is delivered');
is($peer->requests('/ok/services')->[0]{body}, '{"text": "hello"}', 'to the URL that is the secret');
$id = emit('slack', '{"webhook": "missing", "text": "hello"}');
reaches($id, 'dead', 'a secret that is not there');
like(effect($id, 'attempts || last_error'), qr/^3.*secret "missing" does not exist/, 'is waited for');

# Twilio.
$node->safe_psql('postgres', sprintf(q{SELECT reflex.set_secret('twilio', 'SENTINELTOKEN');
	SELECT reflex.create_twilio_account('main', 'AC0123456789abcdef0123456789abcdef', 'twilio', '%s')}, $peer->url('/ok')));
$id = emit('twilio.message', '{"account": "main", "to": "whatsapp:+15005550001", "from": "whatsapp:+1", "body": "a & b"}');
reaches($id, 'completed', 'a WhatsApp message is delivered');
($request) = @{ $peer->requests('/ok/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json') };
%header = map { lc $_ => $request->{headers}{$_} } keys %{ $request->{headers} };
is(join('&', sort split /&/, $request->{body}),
	'Body=a+%26+b&From=whatsapp%3A%2B1&To=whatsapp%3A%2B15005550001', 'as a form');
is($header{'content-type'}, 'application/x-www-form-urlencoded', 'of the right type');
is($header{'authorization'}, 'Basic QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjpTRU5USU5FTFRPS0VO', 'with the credentials');

# Secrets go only where they may.
$node->safe_psql('postgres', sprintf(q{SELECT reflex.set_secret('hook', '%s', '{hooks.slack.com}')}, $peer->url('/ok/limited')));
$id = emit('slack', '{"webhook": "hook", "text": "hello"}');
reaches($id, 'dead', 'a secret for another host');
like(effect($id, 'attempts || last_error'), qr/^1secret "hook" must not be sent to this host/, 'stays here');
is(scalar @{ $peer->requests('/ok/limited') }, 0, 'in fact');

# Loopback only where it is allowed.
$node->append_conf('postgresql.conf', "reflex.allowed_hosts = '*'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('reflex.allowed_hosts') = '*'");
$id = emit_to('/ok/forbidden');
reaches($id, 'dead', 'loopback that is not named is refused');
is(effect($id, 'attempts'), '1', 'at once');
is(scalar @{ $peer->requests('/ok/forbidden') }, 0, 'and not reached');

# No secret is where it does not belong.
my $dump = $node->data_dir . '/../dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
my $all = slurp_file($dump) . $node->safe_psql('postgres',
	'SELECT * FROM reflex.effects; SELECT * FROM reflex.secrets; SELECT * FROM reflex_internal.effect_outcome;'
	  . "SELECT * FROM reflex.dlq_list('reflex.effects')");
unlike($all, qr/SENTINEL|limited/, 'no secret in dump, views and tables');
unlike(slurp_file($node->logfile) =~ s/^.*set_secret.*$//mgr, qr/SENTINEL|limited/, 'nor in the log');

$node->stop;
$peer->stop;
done_testing();
