# Workers as pg_stat_activity sees them, and waiting for them with a bound.
package Reflex::Workers;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(start_node workers pid_of workers_become becomes takes_less);

# A running server with the library preloaded, and more settings if need be.
sub start_node
{
	my ($name, %settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'reflex'");
	$node->append_conf('postgresql.conf', "max_worker_processes = 20");
	$node->append_conf('postgresql.conf', "$_ = '$settings{$_}'") for sort keys %settings;
	$node->start;
	return $node;
}

# The kinds of worker connected to a database: 'io sql', or ''.
sub workers
{
	my ($node, $database) = @_;

	return $node->safe_psql('template1',
		"SELECT string_agg(split_part(backend_type, ' ', 2), ' ' ORDER BY backend_type)
		 FROM pg_stat_activity WHERE datname = '$database' AND backend_type LIKE 'reflex % worker'");
}

sub pid_of
{
	my ($node, $backend_type, $database) = @_;
	my $where = defined $database ? "datname = '$database'" : 'datname IS NULL';

	return $node->safe_psql('template1',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = '$backend_type' AND $where LIMIT 1");
}

# Asks until it is so; fails when it is not so within the time.
sub becomes
{
	my ($limit, $is, $expected, $name) = @_;
	my $start = time;
	my $got;

	while (1)
	{
		$got = $is->();
		last if $got eq $expected || time - $start > $limit;
		usleep(20_000);
	}
	is($got, $expected, $name);
	return time - $start;
}

sub workers_become
{
	my ($node, $database, $expected, $limit, $name) = @_;

	return becomes($limit, sub { workers($node, $database) },
		$expected, $name);
}

sub takes_less
{
	my ($limit, $what, $name) = @_;
	my $start = time;

	$what->();
	my $took = time - $start;
	cmp_ok($took, '<', $limit, sprintf('%s (took %.2f s, at most %s s)', $name, $took, $limit));
	return;
}

1;
