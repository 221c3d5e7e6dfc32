# The README's quickstart works when it is pasted.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
my ($quickstart) = $readme =~ /^## Quickstart\n(.*?)^## /ms;
my $session = join("\n", $quickstart =~ /^```sql\n(.*?)^```/msg);
ok($session =~ /reflex\.publish/ && $session =~ /reflex\.run_agent/, 'there is a session to paste');

# Nobody waits for a model that is not there.
$session =~ s/pg_sleep\(5\)/pg_sleep(0)/;

# And nothing leaves this machine.
my $node = start_node('main', 'reflex.allowed_hosts' => '127.0.0.1');
my ($stdout, $stderr) = ('', '');
my $rc = $node->psql('postgres', $session, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
is($stderr, '', 'it runs without an error');
is($rc, 0, 'to its end');

my @lines = split /\n/, $stdout;
sub says
{
	my ($line, $name) = @_;
	return ok((grep { $_ eq $line } @lines), $name) || diag($stdout);
}
says('t', 'the event is acked');
says('order.refused|1|t', 'the dead letter comes again, from the start');
says('order.paid|{"order": 3}', 'the rule has seen the event');
ok((grep { /^http\|(pending|executing|dead)\|/ } @lines), 'the effect is on record');
ok((grep { /"status": "(running|failed)"/ } @lines), 'the run is on record');

$node->stop;
done_testing();
