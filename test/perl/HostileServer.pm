
=head1 NAME

HostileServer - test/hostile/server.py for TAP tests

=head1 SYNOPSIS

  use lib 'test/perl';
  use HostileServer;

  my $peer = HostileServer->start;          # or start(ledger => $file)
  $node->append_conf('postgresql.conf', "reflex.allowed_hosts = '" . $peer->host . "'");
  my $url = $peer->url('/fail-then-ok/first?n=2');
  ...
  is(scalar @{ $peer->requests('/fail-then-ok') }, 3, 'two failures and a success');
  ok($peer->wait_for(3, '/ok'), 'three requests arrived');
  $peer->stop;                              # also when the object goes

The modes are described at the head of test/hostile/server.py.

=cut

package HostileServer;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;
use Time::HiRes qw(sleep time);

my $script = File::Spec->rel2abs(dirname(__FILE__) . '/../hostile/server.py');

# Starts the server and returns when it listens.  Options: ledger (file),
# tls_cert and tls_key (files), port.  It ends when this process does, however
# that comes about, because it watches its standard input.
sub start
{
	my ($class, %options) = @_;
	my @command = ($script, '--with-parent');

	foreach my $name (qw(port ledger tls_cert tls_key))
	{
		next unless defined $options{$name};
		(my $flag = "--$name") =~ tr/_/-/;
		push @command, $flag, $options{$name};
	}
	my $pid = open2(my $out, my $in, @command);
	my $self = bless { pid => $pid, in => $in, out => $out, ledger => $options{ledger} }, $class;
	while (my $line = <$out>)
	{
		$self->{$1} = $2 if $line =~ /^(port|tls_port)=(\d+)/;
		return $self if $self->{port};
	}
	die "$script did not start\n";
}

# The address it listens on, as reflex.allowed_hosts takes it.
sub host
{
	my ($self) = @_;
	return "127.0.0.1:$self->{port}";
}

sub port { return $_[0]->{port}; }

sub url
{
	my ($self, $path) = @_;
	return "http://127.0.0.1:$self->{port}$path";
}

sub tls_url
{
	my ($self, $path) = @_;
	return "https://127.0.0.1:$self->{tls_port}$path";
}

# The requests received so far whose path begins so, oldest first: an array of
# hashes with method, path, headers, body, idempotency_key, effect_id, attempt,
# traceparent, t (monotonic seconds), connection, ...
sub requests
{
	my ($self, $prefix) = @_;
	my $answer = HTTP::Tiny->new->get($self->url('/_requests'));
	die "no answer from the hostile server: $answer->{content}" unless $answer->{success};
	my $all = decode_json($answer->{content});
	return [ grep { index($_->{path}, $prefix // '') == 0 } @$all ];
}

# Waits until so many have arrived; false after the timeout (180 s).
sub wait_for
{
	my ($self, $count, $prefix, $timeout) = @_;
	my $deadline = time() + ($timeout // 180);

	while (time() < $deadline)
	{
		return 1 if @{ $self->requests($prefix) } >= $count;
		sleep 0.05;
	}
	return 0;
}

# Lets /switch/NAME answer 503 (up = 0) or 200 again.
sub switch
{
	my ($self, $name, $up) = @_;
	HTTP::Tiny->new->post($self->url("/_switch/$name?up=" . ($up ? 1 : 0)));
	return;
}

sub clear
{
	my ($self) = @_;
	HTTP::Tiny->new->post($self->url('/_clear'));
	return;
}

sub stop
{
	my ($self) = @_;

	# The caller's exit status must survive this, as at the end of a test.
	local $?;
	if (my $pid = delete $self->{pid})
	{
		kill 'TERM', $pid;
		waitpid $pid, 0;
	}
	return;
}

sub DESTROY
{
	my ($self) = @_;
	$self->stop;
	return;
}

1;
