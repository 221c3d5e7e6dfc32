
=head1 NAME

ModelServer - test/model/server.py for TAP tests

=head1 SYNOPSIS

  use lib 'test/perl';
  use ModelServer;

  my $model = ModelServer->start({ good => [ { content => { answer => 42 } } ] });
  my $base_url = $model->base_url;          # for reflex.create_provider
  my $asked = $model->requests('good');     # what arrived for that model
  $model->stop;                             # also when the object goes

What a script may say is told at the head of test/model/server.py.

=cut

package ModelServer;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use File::Temp;
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;

my $server = File::Spec->rel2abs(dirname(__FILE__) . '/../model/server.py');

# Starts the server with a script and returns when it listens.  It ends when
# this process does, because it watches its standard input.
sub start
{
	my ($class, $script) = @_;
	my $file = File::Temp->new;

	print $file encode_json($script);
	$file->flush;
	my $pid = open2(my $out, my $in, $server, '--with-parent', '--script',
		$file->filename);
	my ($port) = (<$out> // '') =~ /^port=(\d+)/
	  or die "$server did not start\n";
	return bless { pid => $pid, in => $in, out => $out, port => $port },
	  $class;
}

sub base_url { return "http://127.0.0.1:$_[0]->{port}/v1"; }

# The requests received for a model, oldest first: hashes with body (decoded),
# authorization and attempt.
sub requests
{
	my ($self, $model) = @_;
	my $answer =
	  HTTP::Tiny->new->get("http://127.0.0.1:$self->{port}/_requests");
	return [ grep { $_->{model} eq $model }
		  @{ decode_json($answer->{content}) } ];
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
