# The file with the key of the secrets: made once, and only used when it is safe.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('key');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'reflex'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION reflex');

my $default = $node->data_dir . '/reflex.key';
ok(!-e $default, 'there is no key before the first secret');

# Many first users at once make one key.
my $script = $node->data_dir . '/../first.sql';
append_to_file($script, q{SELECT reflex.set_secret('s' || :client_id, 'SENTINEL');});
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '1', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'eight sessions store the first secret');
is((stat $default)[2] & 07777, 0600, 'the file is the owner\'s alone');
is(-s $default, 65, 'and holds a key');
my @left = glob($node->data_dir . '/reflex.key.*');
is("@left", '', 'nothing is left beside it');
my $key = slurp_file($default);
$node->safe_psql('postgres', q{SELECT reflex.set_secret('again', 'SENTINEL')});
is(slurp_file($default), $key, 'it stays the same');

sub refused
{
	my ($message, $name) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', q{SELECT reflex.set_secret('x', 'SENTINEL')});
	isnt($rc, 0, $name);
	like($err, $message, "$name: the error says why");
	unlike($err, qr/SENTINEL/, "$name: and not what");
	return;
}

chmod 0640, $default;
refused(qr/permissions let others/, 'a file that others can read');
chmod 0600, $default;
truncate $default, 10;
refused(qr/size is not that of a key/, 'half a key');
append_to_file($default, 'z' x 55);
refused(qr/hexadecimal digits/, 'something else');
unlink $default;
mkdir $default;
refused(qr/not a regular file|could not open/, 'a directory');
rmdir $default;

my $elsewhere = $node->data_dir . '/../elsewhere.key';
$node->append_conf('postgresql.conf', "reflex.secret_key_file = '$elsewhere'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('reflex.secret_key_file') <> ''");
refused(qr/does not exist.*HINT/s, 'a configured file that is missing');
ok(!-e $elsewhere, 'it is not created');
append_to_file($elsewhere, $key);
chmod 0600, $elsewhere;
$node->safe_psql('postgres', q{SELECT reflex.set_secret('x', 'SENTINEL')});
pass('a configured file is used');

my $log = slurp_file($node->logfile);
unlike($log =~ s/^.*set_secret.*$//mgr, qr/SENTINEL/, 'no error shows a value');
$node->stop;
done_testing();
