# The official test suite of JSON Schema (test/fixtures/json-schema-test-suite).
#
# Every test is run.  What reflex leaves out of scope is listed here, with the
# reason and how many tests it is, so that neither more nor less is left out
# than is meant.
use strict;
use warnings;

use File::Basename;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reflex::Workers;
use Test::More;

# What reflex refuses, by what it says then.
my @refused = (
	[ qr/Format "/, 'formats that are not checked are refused, not ignored', 137 ],
	[ qr/leads to no schema of this document: "http/, 'nothing is fetched, metaschemas neither', 67 ],
	[ qr/leads to no schema of this document: "#.examples/, 'a place that holds no schema', 2 ],
	[ qr/keyword "\$dynamic(Ref|Anchor)" is not/, 'a reference that depends on who asks', 48 ],
	[ qr/keyword "\$schema"/, 'dialects of one\'s own and $vocabulary', 9 ],
	[ qr/keyword "(unknown.keyword|array_of_schemas)" is not/, 'unknown keywords are refused, not ignored', 14 ],
	[ qr/Unicode properties/, 'the engine does not know the properties of characters', 33 ]);

# Verdicts that are meant to be otherwise.
my @otherwise = (
	[ qr/format: invalid .* string is only an annotation by default: is invalid/, 'format is checked', 8 ],
	[ qr/^validation of .*(encod|media type).*: is valid/, 'optional in draft-07: content* say nothing, as in 2020-12', 4 ]);

my $node = start_node('main', 'reflex.databases' => '');
my $suite = "$FindBin::RealBin/../fixtures/json-schema-test-suite";

$node->safe_psql('postgres', 'CREATE EXTENSION reflex');
$node->safe_psql('postgres', <<'SQL');
-- Of a value under a schema: valid, invalid, or refused and why.
CREATE FUNCTION verdict(schema json, data json, draft7 boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_schema jsonb;
	v_valid boolean;
	v_detail text;
BEGIN
	v_schema := schema;
	IF draft7 AND jsonb_typeof(v_schema) = 'object' THEN
		v_schema := '{"$schema": "http://json-schema.org/draft-07/schema#"}' || v_schema;
	END IF;
	v_valid := reflex.json_schema_is_valid(v_schema, data::jsonb);
	IF v_valid <> NOT EXISTS (SELECT FROM reflex.json_schema_errors(v_schema, data::jsonb)) THEN
		RETURN 'contradiction';
	END IF;
	RETURN CASE WHEN v_valid THEN 'valid' ELSE 'invalid' END;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN 'refused: ' || sqlerrm || ' ' || v_detail;
END
$$;
SQL

# jsonb can not hold the character U+0000; another takes its place.
# Rows of group, test, expected, verdict, where these differ; and the number of tests.
sub run_file
{
	my ($file, $draft7) = @_;

	return split /\n/, $node->safe_psql('postgres', <<"SQL");
		WITH test AS (
			SELECT g->>'description' AS part, t->>'description' AS name,
				CASE WHEN (t->>'valid')::bool THEN 'valid' ELSE 'invalid' END AS expected,
				verdict(g->'schema', t->'data', $draft7) AS verdict
			FROM json_array_elements(replace(pg_read_file('$file'), '\\u0000', '\\ue000')::json) g, json_array_elements(g->'tests') t)
		SELECT part || ': ' || name || ': is ' || verdict FROM test WHERE verdict <> expected
		UNION ALL SELECT 'tests ' || count(*) FROM test
SQL
}

my %seen;
my $n = 0;

sub is_out_of_scope
{
	my ($line) = @_;

	for my $case ($line =~ /: is refused: / ? @refused : @otherwise)
	{
		next if $line !~ $case->[0];
		$seen{ $case->[1] }++;
		return 1;
	}
	return 0;
}

for my $file (glob("$suite/*/*.json $suite/*/optional/*.json $suite/*/optional/format/*.json"))
{
	my $path = substr($file, length($suite) + 1);
	my @lines = run_file($file, $path =~ /^draft7/ ? 'true' : 'false');

	$n += $1 if pop(@lines) =~ /^tests (\d+)$/;
	is(join("\n", grep { !is_out_of_scope($_) } @lines), '', $path);
}
is($n, 3161, 'tests were run');
is($seen{ $_->[1] }, $_->[2], "out of scope: $_->[1]") for @refused, @otherwise;

done_testing();
