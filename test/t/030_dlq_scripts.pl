# scripts/dlq.sh and scripts/replay.sh, and the names that reflex.psql gives to psql.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $scripts = "$FindBin::RealBin/../../scripts";
my $node = start_node('main');
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

# The output of a script that succeeds.
sub output
{
	my ($script, @args) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run([ "$scripts/$script", @args ], '>', \$out, '2>', \$err);

	ok($ok, "$script @args") or diag($err);
	chomp $out;
	return $out;
}

sub fails
{
	my ($message, $script, @args) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run([ "$scripts/$script", @args ], '>', \$out, '2>', \$err);

	ok(!$ok, "$script @args fails");
	like($err, $message, 'and says why');
	return;
}

sql('CREATE EXTENSION reflex');
sql(q{SELECT reflex.subscribe('s', max_attempts => 1)});
sql(qq{SELECT reflex.publish('$_', '{"it''s": "here"}', session => 'chat')}) foreach qw(order.paid order.sent refund);
sql(q{SELECT reflex.nack(token, 'no ' || type) FROM reflex.receive('s', 10)});
my $paid = sql(q{SELECT event_id FROM reflex.dlq_list(type => 'order.paid')});
my @plain = ('--', '-A', '-t');

like(output('dlq.sh', '--help'), qr/^dlq\.sh COMMAND.*--per-second/s, 'there is help');
like(output('dlq.sh', 'list'), qr/3 rows/, 'list');
like(output('dlq.sh', qw(list --type order.* --error sent$), @plain), qr/^\d+\|s\|order\.sent\|[^\n]*$/, 'by type and error');
is(output('dlq.sh', qw(list --since infinity), @plain), '', 'by time');
like(output('dlq.sh', qw(list --max 1), @plain), qr/^\d+\|s\|refund\|[^\n]*$/, 'so many');
like(output('dlq.sh', 'show', '--event', $paid), qr/payload\s*\| \{"it's": "here"\}/, 'show');
is(output('dlq.sh', 'retry', '--event', $paid, '--payload', q({"it's": "fixed"}), @plain), '1', 'retry with a payload');
is(sql(q{SELECT payload, reflex.ack(token) FROM reflex.receive('s')}), q({"it's": "fixed"}|t), 'which is delivered');
is(output('dlq.sh', qw(retry --subscription s --type refund --per-second 5), @plain), '1', 'retry by filter');
is(output('dlq.sh', qw(purge --error nothing), @plain), '0', 'purge by filter');
is(output('dlq.sh', qw(purge --all), @plain), '1', 'purge');
is(sql('SELECT count(*) FROM reflex.dlq_list()'), '0', 'what is left');

fails(qr/what is to be done/, 'dlq.sh');
fails(qr/unknown command "eat"/, qw(dlq.sh eat));
fails(qr/unknown option "--foo"/, qw(dlq.sh list --foo));
fails(qr/--type needs a value/, qw(dlq.sh list --type));
fails(qr/purge does not take --max/, qw(dlq.sh purge --max 1));
fails(qr/purge needs a filter, or --all/, qw(dlq.sh purge));
fails(qr/retry needs a filter, or --all/, qw(dlq.sh retry));
fails(qr/show needs --event/, qw(dlq.sh show --subscription s));
fails(qr/there is no dead letter/, 'dlq.sh', 'retry', '--event', $paid);

sub types
{
	return join ' ', output('replay.sh', @_) =~ /"type":"([^"]*)"/g;
}

like(output('replay.sh', '--help'), qr/^replay\.sh --last TIME/, 'there is help');
is(types(qw(--last 1h)), 'order.paid order.sent refund', 'the last hour');
is(types('--last', '1 h', '--type', 'refund', '--type', 'order.s*'), 'refund', 'types are exact');
is(types('--last', '1 h', '--type', 'refund', '--type', 'order.*', '--session', 'chat'),
	'order.paid order.sent refund', 'or end in .*');
is(types(qw(--last 1h --session nobody)), '', 'a session');
is(types('--since', sql(q{SELECT created_at FROM reflex.events WHERE type = 'order.sent'})), 'order.sent refund', 'from a time on');
is(types('--last', '1h', '--until', sql(q{SELECT created_at FROM reflex.events WHERE type = 'refund'})),
	'order.paid order.sent', 'up to a time');
fails(qr/from when on/, qw(replay.sh --type a));
fails(qr/invalid input syntax for type interval/, qw(replay.sh --last forever));

# The file for psql: every name in it works.
chomp(my $share = `pg_config --sharedir`);
my $file = "$share/extension/reflex.psql";
my @names = slurp_file($file) =~ /^\\set (\w+) /mg;
cmp_ok(scalar @names, '>', 8, 'names for psql');
foreach my $name (@names)
{
	my $more = $name eq 'dlq_where' ? q{ type = 'refund';} : '';
	my ($status, $out, $err) = $node->psql('postgres', "\\i $file\n\\set id $paid\n\\set subscription s\n:$name$more\n");

	is("$status$err", '0', ":$name");
}

$node->stop;
done_testing();
