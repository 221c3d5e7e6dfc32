# Event types over sessions and dumps.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

my $node = start_node('main', 'reflex.databases' => '');

# 'published', or the reason why not.
sub publish
{
	my ($session, $payload) = @_;
	return $session->query_safe("SELECT try_publish('$payload')");
}

$node->safe_psql('postgres', 'CREATE EXTENSION reflex');
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION try_publish(payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_detail text;
BEGIN
	PERFORM reflex.publish('t', payload);
	RETURN 'published';
EXCEPTION WHEN SQLSTATE 'PT422' THEN
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN v_detail;
END
$$;
SQL

# A session that has published sees what others register, from their commit on.
my $publisher = $node->background_psql('postgres');
my $admin = $node->background_psql('postgres');
is(publish($publisher, '1'), 'published', 'a type that is not registered takes anything');
$admin->query_safe(q{BEGIN; SELECT reflex.register_event_type('t', '{"type": "string"}')});
is(publish($admin, '1'), 'payload: is of type number, not string', 'who registers a type has it at once');
is(publish($publisher, '1'), 'published', 'others not before it commits');
$admin->query_safe('ROLLBACK');
is(publish($admin, '1'), 'published', 'and if it does not, nobody');
is(publish($publisher, '1'), 'published', 'nor others');
$admin->query_safe(q{SELECT reflex.register_event_type('t', '{"type": "string"}')});
is(publish($publisher, '1'), 'payload: is of type number, not string', 'all when it has');
$admin->query_safe(q{SELECT reflex.register_event_type('t', '{"type": "number"}')});
is(publish($publisher, '1'), 'published', 'a type is replaced for all');

# A transaction with an old snapshot does not keep what it reads for later ones.
$publisher->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$admin->query_safe(q{SELECT reflex.register_event_type('t', '{"type": "null"}')});
is(publish($publisher, '1'), 'published', 'a snapshot has the types of its time');
$publisher->query_safe('COMMIT');
is(publish($publisher, '1'), 'payload: is of type number, not null', 'the next transaction those of its own');

# A dump has what users have said, of shipped types too.
$admin->query_safe(q{SELECT reflex.drop_event_type('lifecycle')});
my $dump = $PostgreSQL::Test::Utils::tmp_check . '/types.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump, '-o', '/dev/null' ], 'restore');
is($node->safe_psql('restored', q{SELECT type, schema FROM reflex.event_types WHERE NOT shipped OR type = 'lifecycle'}),
	't|{"type": "null"}', 'a restored database has the same types');
is($node->safe_psql('restored', q{SELECT try_publish('1')}), 'payload: is of type number, not null', 'and holds payloads against them');

# Another life of the extension has nothing of the last.
$node->safe_psql('restored', 'DROP EXTENSION reflex CASCADE; CREATE EXTENSION reflex');
is($node->safe_psql('restored', q{SELECT try_publish('1')}), 'published', 'types go with the extension');

$publisher->quit;
$admin->quit;
done_testing();
