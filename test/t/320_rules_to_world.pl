# The whole way: an event wakes an agent, its answer is an event, and that one
# reaches a person; the model is the npm package @copilotkit/aimock.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use HostileServer;

my $test   = "$FindBin::RealBin/..";
my $llmock = "$test/node/node_modules/.bin/llmock";
plan skip_all => 'aimock is not installed (npm ci in test/node)'
  unless -x $llmock;

my $port   = PostgreSQL::Test::Cluster::get_free_port();
my $log    = "$PostgreSQL::Test::Utils::tmp_check/aimock.log";
my $aimock = fork // die "fork: $!";
if ($aimock == 0)
{
	open STDOUT, '>',  $log     or die;
	open STDERR, '>&', \*STDOUT or die;
	exec $llmock, '-h', '127.0.0.1', '-p', $port, '-f',
	  "$test/fixtures/aimock/agent.json", '--strict', '--validate-on-load'
	  or exit 1;
}
END { kill 'TERM', $aimock if $aimock }

my $peer   = HostileServer->start;
my $twilio = $peer->url('/ok/twilio');
my $node   = PostgreSQL::Test::Cluster->new('world');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'reflex'
reflex.allowed_hosts = '127.0.0.1'
reflex.event_retry_base_delay = '200ms'
reflex.event_max_attempts = 10
CONF
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION reflex;
SELECT reflex.set_secret('key', 'sk-test'), reflex.set_secret('twilio', 'token');
SELECT reflex.create_provider('mock', base_url => 'http://127.0.0.1:$port/v1', secret => 'key');
SELECT reflex.create_agent('triage', 'mock:gpt-4o-mini', 'Judge this error.', '{"type": "object",
	"properties": {"severity": {"enum": ["low", "high"]}, "summary": {"type": "string"}, "action": {"type": "string"}},
	"required": ["severity", "summary", "action"], "additionalProperties": false}');
SELECT reflex.create_twilio_account('main', 'AC00000000000000000000000000000001', 'twilio', '$twilio');
SELECT reflex.create_channel('wa', 'twilio.whatsapp', '{"account": "main", "from": "+14155238886"}');
SELECT reflex.create_contact('dba', '+493012345678');
SELECT reflex.create_rule('judge', '{"type": ["postgres.error"]}',
	action => '{"agent": "triage", "input": {"\$": "\$.payload.message"}}');
SELECT reflex.create_rule('tell', '{"type": ["agent.completed"]}',
	action => '{"notify": "dba", "title": {"\$": "\$.payload.result.summary"}, "body": {"\$": "\$.payload.result.action"}}');
SQL

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $expected, $name) = @_;
	$node->poll_query_until('postgres', $query, $expected);
	return is(sql($query), $expected, $name)
	  || diag(sql('TABLE reflex.effects'), slurp_file($log));
}

my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
sql(qq{SELECT reflex.publish('postgres.error', '{"message": "division by zero"}', session => 's1',
	meta => '{"traceparent": "00-$trace-00f067aa0ba902b7-01"}')});
becomes(
	'SELECT contact, title, body, state FROM reflex.notifications',
	'dba|an unguarded division|guard it|completed',
	'an error is judged and told');
is( sql('SELECT status, session, role FROM reflex.runs'),
	'completed|s1|' . sql('SELECT current_user'),
	'the run is of the session and of the owner of the rule');
my ($request) = @{ $peer->requests('/ok/twilio') };
like(
	$request->{body},
	qr/To=whatsapp%3A%2B493012345678/,
	'Twilio is told whom');
like($request->{traceparent}, qr/^00-$trace-/, 'in the trace of the error');

sql(q{SELECT reflex.publish('postgres.error', '{"message": "flaky"}')});
becomes(
	q{SELECT reflex.run_result(id) -> 'steps', status, result ->> 'severity' FROM reflex.runs WHERE input = '"flaky"'},
	'2|completed|low',
	'a rate limit is waited for, and a wrong answer put right');
becomes(
	q{SELECT attempts FROM reflex.effects WHERE kind = 'model' ORDER BY created_at LIMIT 1 OFFSET 1},
	'2',
	'by the effect');

# Killed in the middle, it loses nothing and repeats nothing that was answered.
sql(q{SELECT count(reflex.publish('postgres.error', jsonb_build_object('message', 'division by zero ' || n))) FROM generate_series(1, 30) n}
);
$node->poll_query_until('postgres',
	q{SELECT count(*) > 3 FROM reflex.runs WHERE status = 'completed'});
$node->stop('immediate');
$node->start;
becomes(
	q{SELECT count(*), count(DISTINCT input), min(status) FROM reflex.runs WHERE input::text ~ 'zero \d'},
	'30|30|completed',
	'after a crash every error is judged once');
becomes(q{SELECT count(*), min(state) FROM reflex.notifications},
	'32|completed', 'and told once');

$node->stop;
done_testing();
