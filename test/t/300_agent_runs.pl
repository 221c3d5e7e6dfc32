# Runs of agents against a scripted model: what is asked, what is made of what
# comes back, and that nothing that comes back is too strange to be recorded.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use ModelServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

#<<< one model to a line
my $good = { severity => 'high', summary => 'disk full' };
my $model = ModelServer->start({
	'good' => [ { content => $good } ],
	'text' => [ { content => 'Hello' } ],
	'parts' => [ { message => { role => 'assistant', content => [ { type => 'text', text => 'He' }, { type => 'text', text => 'llo' } ] } } ],
	'second:try' => [ { content => 'sure: {"severity"' }, { content => { severity => 'grave' } }, { content => $good } ],
	'never' => [ { content => '{"severity": "high"}' } ],
	'nul' => [ { content => '{"severity": "high", "summary": "\u0000"}' }, { content => $good } ],
	'nul-around' => [ { body => '{"x": "\u0000 \\\\\\\\u0000", "choices": [{"message": {"content": "a\\u0000b"}}]}' } ],
	'deep' => [ { content => ('[' x 100000) }, { content => $good } ],
	'refuses' => [ { message => { role => 'assistant', content => undef, refusal => 'I will not' } } ],
	'long' => [ { content => '{"severity": "hi', finish => 'length' } ],
	'filtered' => [ { content => '', finish => 'content_filter' } ],
	'overloaded' => [ { status => 503, body => { error => { message => 'overloaded' } } }, { content => $good } ],
	'inside' => [
		{ body => { error => { code => 502, message => 'provider down', metadata => { error_type => 'provider_unavailable' } } } },
		{ body => { choices => undef } }, { content => $good } ],
	'not-json' => [ { body => '{malformed json: ' }, { body => '' }, { content => $good } ],
	'poor' => [ { status => 429, body => { error => { message => 'quota', type => 'insufficient_quota', code => 'insufficient_quota' } } } ],
	'stranger' => [ { status => 401, body => { error => { message => 'Incorrect API key provided: sk-secret' } } } ],
	'slow' => [ { content => $good, delay => 3 }, { content => $good } ],
});
#>>>
my $node = PostgreSQL::Test::Cluster->new('agents');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'reflex'
reflex.allowed_hosts = '127.0.0.1'
reflex.event_retry_base_delay = '20ms'
CONF
$node->start;
my $base_url = $model->base_url;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION reflex;
CREATE ROLE app; GRANT reflex_app TO app;
SELECT reflex.set_secret('key', 'sk-very-secret');
SELECT reflex.create_provider('stub', base_url => '$base_url/', secret => 'key', headers => '{"X-Title": "reflex"}');
SELECT reflex.create_provider('open', base_url => '$base_url');
SELECT reflex.subscribe('results');
SQL

my $schema =
  '{"type": "object", "additionalProperties": false, "required": ["severity", "summary"], "properties": {'
  . '"severity": {"enum": ["low", "high"]}, "summary": {"type": "string", "minLength": 1}}}';

# Defines an agent of that name on the model of that name and asks it.
sub run_agent
{
	my ($name, $model_name, %arguments) = @_;
	my $more = join '', map { ", $_ => $arguments{$_}" } sort keys %arguments;
	$node->safe_psql('postgres',
		"SELECT reflex.create_agent('$name', '$model_name'$more)");
	return $node->safe_psql('postgres',
		qq{SELECT reflex.run_agent('$name', '"why?"', session => 's1')});
}

sub triage
{
	my ($name, %arguments) = @_;
	return run_agent(
		$name, "stub:$name",
		output_schema => "'$schema'",
		%arguments);
}

sub value
{
	my ($run, $path) = @_;
	return $node->safe_psql('postgres',
		"SELECT reflex.run_result('$run') #>> '$path'");
}

sub ends_as
{
	my ($run, $status, $name) = @_;
	$node->poll_query_until('postgres',
		"SELECT reflex.run_result('$run') ->> 'status' <> 'running'")
	  or diag('still running');
	return is(value($run, '{status}'), $status, $name)
	  || diag(
		$node->safe_psql(
			'postgres',
			"SELECT reflex.run_result('$run'); TABLE reflex.effects"));
}

# The straight way.
my $run = triage(
	'good',
	instructions      => "'Be brief'",
	max_output_tokens => 100,
	temperature       => 0.5);
ends_as($run, 'completed', 'a good answer completes a run');
is(value($run, '{result,severity}'),    'high', 'with its result');
is(value($run, '{usage,total_tokens}'), '15',   'and what it used');
my ($request) = @{ $model->requests('good') };
is($request->{authorization}, 'Bearer sk-very-secret', 'the key goes along');
is_deeply(
	$request->{body}{messages},
	[
		{ role => 'system', content => 'Be brief' },
		{ role => 'user',   content => 'why?' }
	],
	'the messages');
is($request->{body}{max_completion_tokens}, 100, 'the limit of tokens');
is($request->{body}{temperature},           0.5, 'the temperature');
is($request->{body}{response_format}{json_schema}{name},
	'good', 'the schema has a name');
ok($request->{body}{response_format}{json_schema}{strict}, 'and is enforced');
is( $node->safe_psql(
		'postgres',
		"SELECT type, source, session, payload ->> 'run', payload #>> '{result,summary}', payload ->> 'input'
	FROM reflex.receive('results')"),
	"agent.completed|reflex|s1|$run|disk full|why?",
	'agent.completed is published');

$run = run_agent('text', 'open:text');
ends_as($run, 'completed', 'without a schema text is good');
is(value($run, '{result}'), 'Hello', 'as it is');
($request) = @{ $model->requests('text') };
is($request->{authorization}, undef, 'a provider without a secret gets none');
is(join(',', sort keys %{ $request->{body} }),
	'messages,model', 'and nothing that was not asked for');
$run = run_agent('parts', 'open:parts');
ends_as($run, 'completed', 'content in parts');
is(value($run, '{result}'), 'Hello', 'is put together');

# Told what was wrong.
$run = run_agent('again', 'stub:second:try', output_schema => "'$schema'");
ends_as($run, 'completed', 'the third answer is good');
is(value($run, '{steps}'),              '3',  'after three steps');
is(value($run, '{usage,total_tokens}'), '45', 'which are all counted');
my $messages = $model->requests('second:try')->[2]{body}{messages};
is( join(' ', map { $_->{role} } @$messages),
	'user assistant user assistant user',
	'the model sees its former answers');
like(
	$messages->[2]{content},
	qr/the answer is not JSON/,
	'that the first was no JSON');
like(
	$messages->[4]{content},
	qr{/severity: is not one of \["low", "high"\]},
	'a wrong value');
like($messages->[4]{content}, qr{"summary" is missing}, 'and a missing one');

$run = triage('never', max_retries => 1);
ends_as($run, 'failed', 'not for ever');
is(value($run, '{steps}'), '2', 'max_retries + 1 times');
like(value($run, '{error}'), qr/"summary" is missing/, 'with the last error');
ok( $node->poll_query_until(
		'postgres', "SELECT count(*) = 1 FROM reflex.receive('results', 100)
	WHERE type = 'agent.failed' AND payload ->> 'run' = '$run'"),
	'agent.failed is published');

# What can't be stored becomes a step, or is made storable.
ends_as(triage('nul'),  'completed', 'an escaped NUL in the answer');
ends_as(triage('deep'), 'completed', 'JSON nested too deeply');
$run = run_agent('nul-around', 'open:nul-around');
ends_as($run, 'completed', 'a NUL around the answer');
is( $node->safe_psql(
		'postgres',
		qq{SELECT reflex.run_result('$run') ->> 'result' = E'a\\uFFFDb'}),
	't',
	'is replaced');

# Asked once and not again.
for my $case (
	[ refuses  => qr/refused: I will not/ ],
	[ long     => qr/cut off/ ],
	[ filtered => qr/content filter/ ],
	[ poor     => qr/money \(402\): quota/ ],
	[ stranger => qr/refuses the key/ ])
{
	my ($name, $error) = @$case;
	my $failed = triage($name);
	ends_as($failed, 'failed', "$name: the run fails");
	like(value($failed, '{error}'), $error, "$name: with its reason");
	is(scalar @{ $model->requests($name) }, 1, "$name: asked once");
}
unlike(
	$node->safe_psql('postgres', "SELECT array_agg(error) FROM reflex.runs"),
	qr/sk-/,
	'no key in an error');

# Trouble of the provider is the effect's to retry.
for my $case ([ overloaded => 2 ], [ inside => 3 ], [ 'not-json' => 3 ])
{
	my ($name, $asked) = @$case;
	ends_as(triage($name), 'completed', "$name: passes");
	is(scalar @{ $model->requests($name) },
		$asked, "$name: asked $asked times");
}
$run = triage('slow', timeout => "'500 ms'");
ends_as($run, 'completed', 'a model that is too slow is asked again');

# A provider that is not there.
$node->safe_psql('postgres',
	"SELECT reflex.create_provider('gone', base_url => 'http://127.0.0.1:9/v1')"
);
$run = run_agent('lost', 'gone:x');
ends_as($run, 'failed', 'a provider that is not there');
is( $node->safe_psql(
		'postgres',
		"SELECT count(*) FROM reflex.dlq_list('reflex.effects') WHERE payload ->> 'run' = '$run'"
	),
	'1',
	'leaves a dead letter');

# A dead letter of a run that has ended is not worth money.
my $dead = $node->safe_psql('postgres',
	"SELECT event_id FROM reflex.dlq_list('reflex.effects') WHERE error ~ 'money'"
);
$node->safe_psql('postgres', "SELECT reflex.dlq_retry('$dead')");
ok( $node->poll_query_until(
		'postgres',
		"SELECT count(*) = 1 FROM reflex.dlq_list('reflex.effects')
	WHERE event_id = '$dead' AND error ~ 'has a result already'"),
	'trying it again ends where it was');
is(scalar @{ $model->requests('poor') }, 1, 'and asks nobody');

# A result is final, and a rolled-back run has never been.
my $before = @{ $model->requests('text') };
$node->safe_psql('postgres',
	q{BEGIN; SELECT reflex.run_agent('text', '"never"'); ROLLBACK});
$run = $node->safe_psql('postgres',
	q{SELECT reflex.run_agent('text', '{"a": 1}')});
ends_as($run, 'completed', 'a run after a rollback');
my @asked = @{ $model->requests('text') };
is(@asked - $before, 1, 'is the only one');
is($asked[-1]{body}{messages}[0]{content}, '{"a": 1}',
	'JSON is sent as JSON');

# An app that idles in its transaction has its session's turn: the answer waits
# for it, the worker and everybody else do not.
my $app = $node->background_psql('postgres');
$app->query_safe(
	"BEGIN; SELECT reflex.publish('typing', session => 'held')");
my $held = $node->safe_psql('postgres',
	q{SELECT reflex.run_agent('text', '"held"', session => 'held')});
ok( $node->poll_query_until(
		'postgres',
		'SELECT count(*) = 1 FROM reflex_internal.effect_attempt'
		  . " WHERE seq = (SELECT max(seq) FROM reflex_internal.effect)"),
	'a run in a session that is held');
$run = $node->safe_psql('postgres',
	q{SELECT reflex.run_agent('text', '"free"', session => 'free')});
ends_as($run, 'completed', 'does not hold up another');
is( $node->safe_psql(
		'postgres', "SELECT reflex.run_result('$held')->>'status'"),
	'running', 'its answer waits');
$app->query_safe('COMMIT');
ends_as($held, 'completed', 'and is taken when the session is free');
is(scalar(grep { $_->{body}{messages}[0]{content} eq 'held' } @{ $model->requests('text') }),
	1, 'it was asked for once');
$app->quit;

# Each sees his own.
$node->safe_psql('postgres',
	"SET ROLE app; SELECT reflex.run_agent('text', '1')");
is( $node->safe_psql(
		'postgres', 'SET ROLE app; SELECT count(*) FROM reflex.runs'),
	'1',
	'reflex_app sees its own runs');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM reflex.runs'),
	'>', 10, 'others see all');
my (undef, undef, $stderr) =
  $node->psql('postgres', "SET ROLE app; SELECT reflex.run_result('$run')");
like($stderr, qr/run $run does not exist/, 'run_result of another role');

$node->stop;
done_testing();
