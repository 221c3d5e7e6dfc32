# Requests that hang for a minute are in nobody's way.
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
my $node =
  start_node('main', 'reflex.allowed_hosts' => $peer->host);

# A database whose io worker waits for ten answers that take a minute, and
# whose sql worker is in the middle of a handler.
sub busy_database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, 'CREATE EXTENSION reflex');
	$node->safe_psql($name,
		q{CREATE FUNCTION slow(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(20)';
		SELECT reflex.create_rule('slow', '{}', action => '{"function": "public.slow"}')}
	);
	my $url = $peer->url("/hang?s=60&of=$name");
	$node->safe_psql($name,
		"SELECT reflex.emit('http', '{\"url\": \"$url\"}') FROM generate_series(1, 10);
		SELECT reflex.publish('x')");
	$peer->wait_for(10, "/hang?s=60&of=$name");
	ok( $node->poll_query_until(
			$name,
			q{SELECT count(*) = 1 FROM reflex.workers WHERE duty = 'rules' AND database = current_database()}
		),
		"$name is busy");
	return;
}

busy_database('dropped');
takes_less(2, sub { $node->safe_psql('postgres', 'DROP DATABASE dropped') },
	'DROP DATABASE');

busy_database('emptied');
takes_less(2, sub { $node->safe_psql('emptied', 'DROP EXTENSION reflex') },
	'DROP EXTENSION');

busy_database('copied');
takes_less(2,
	sub { $node->safe_psql('postgres', 'CREATE DATABASE twin TEMPLATE copied') },
	'CREATE DATABASE ... TEMPLATE');
takes_less(2,
	sub { $node->safe_psql('postgres', 'ALTER DATABASE copied RENAME TO renamed') },
	'ALTER DATABASE ... RENAME');

busy_database('stopped');
takes_less(5, sub { $node->stop('fast') }, 'a fast shutdown');

$peer->stop;
done_testing();
