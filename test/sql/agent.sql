-- Providers, agents and runs: definitions, what is refused, who may.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_admin; GRANT reflex_admin TO regress_admin;
CREATE ROLE regress_app; GRANT reflex_app TO regress_app;
CREATE ROLE regress_other; GRANT reflex_app TO regress_other;

-- Providers.
SET ROLE regress_admin;
SELECT reflex.create_provider('local', base_url => 'http://127.0.0.1:9/v1/', headers => '{"X-Title": "reflex"}');
SELECT reflex.create_provider('local', base_url => 'http://127.0.0.1:9/v1');
SELECT reflex.create_provider('a:b', base_url => 'http://127.0.0.1:9/v1');
SELECT reflex.create_provider('x', 'anthropic', 'http://127.0.0.1:9/v1');
SELECT reflex.create_provider('x', base_url => 'https://me:secret@example.org/v1');
SELECT reflex.create_provider('x', base_url => 'ftp://example.org');
SELECT reflex.create_provider('x');
SELECT reflex.create_provider('x', base_url => 'http://h', headers => '{"Authorization": "Bearer x"}');
SELECT reflex.create_provider('x', base_url => 'http://h', headers => '{"A b": "c"}');
SELECT reflex.create_provider('x', base_url => 'http://h', headers => '{"A": 1}');
SELECT reflex.alter_provider('local', secret => 'key');
SELECT reflex.alter_provider('nobody', secret => 'key');
SELECT name, kind, base_url, secret, headers, owner FROM reflex.providers;

-- Agents.
SELECT reflex.create_agent('triage', 'local:m:1', 'Be brief', '{"type": "object", "required": ["a"],
    "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "array", "items": {"type": "integer", "minimum": 1}}}}');
SELECT reflex.create_agent('triage', 'local:m');
SELECT reflex.create_agent('x', 'nobody:m');
SELECT reflex.create_agent('x', 'm');
SELECT reflex.create_agent('x');
SELECT reflex.create_agent('x y', 'local:m');
SELECT reflex.create_agent('x', 'local:m', temperature => 3);
SELECT reflex.create_agent('x', 'local:m', max_output_tokens => 0);
SELECT reflex.create_agent('x', 'local:m', timeout => '0');
SELECT reflex.create_agent('x', 'local:m', max_retries => -1);
SELECT reflex.create_agent('x', 'local:m', output_schema => '[]');
SELECT reflex.create_agent('x', 'local:m', output_schema => '{"type": "array"}');
SELECT reflex.create_agent('x', 'local:m', output_schema => '{"type": "object", "properties": {"a": {"patern": "x"}}}');
SELECT reflex.create_agent('x', 'local:m', output_schema => '{"type": "object", "properties": {"a": {"type": "text"}}}');
SELECT reflex.create_agent('x', 'local:m', output_schema => '{"type": "object", "properties": {"a": {"minLength": -1}}}');
SELECT reflex.alter_agent('triage', temperature => 0.5, max_retries => 0);
SELECT reflex.alter_agent('triage', model => 'nobody:m');
SELECT reflex.alter_agent('nobody', temperature => 0.5);
SELECT name, model, instructions, temperature, timeout, max_retries, owner FROM reflex.agents;
SELECT reflex.drop_provider('local');
RESET ROLE;

-- What an answer is held against.
SELECT e.instance, reflex_internal.answer_errors(a.output_schema, e.instance)
FROM reflex_internal.agent a,
     jsonb_array_elements('[{"a": "x"}, {"a": "x", "b": [1, 2.0], "c": null}, {"a": "z"}, {"b": []}, {"a": "x", "b": [0, 1.5, "1"]},
                            [], "a", 7, null, {"a": null}]') e(instance)
WHERE a.name = 'triage';
SELECT s.schema, s.instance, reflex_internal.answer_errors(s.schema, s.instance) FROM (VALUES
    ('{"type": ["string", "null"], "minLength": 2, "maxLength": 3}'::jsonb, 'null'::jsonb),
    ('{"type": ["string", "null"], "minLength": 2, "maxLength": 3}', '"a"'),
    ('{"type": ["string", "null"], "minLength": 2, "maxLength": 3}', '"abcd"'),
    ('{"type": ["string", "null"], "minLength": 2, "maxLength": 3}', '1'),
    ('{"additionalProperties": false, "properties": {"a/b": {"const": 1}}}', '{"a/b": 2, "c": 1}'),
    ('{"additionalProperties": {"type": "number", "maximum": 5}}', '{"x": 6, "y": "z"}'),
    ('{"minItems": 2, "maxItems": 3}', '[1]'),
    ('{"minItems": 2, "maxItems": 3}', '[1, 2, 3, 4]')) s(schema, instance);
-- What a provider may be asked to enforce.
SELECT s.schema, reflex_internal.schema_is_strict(s.schema) FROM (VALUES
    ('{"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}, "required": ["a"], "additionalProperties": false}'::jsonb),
    ('{"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}'),
    ('{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}'),
    ('{"type": "object", "properties": {"a": true}, "required": ["a"], "additionalProperties": false}'),
    ('{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"], "additionalProperties": false, "$defs": {"a": {"anyOf": [{"type": "null"}, {"enum": [1]}]}}}'),
    ('{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"], "additionalProperties": false, "$defs": {"a": {"oneOf": [{"type": "null"}]}}}'),
    ('{"type": "array", "items": {"anyOf": [{"type": "object"}]}}'),
    ('{"type": "array", "items": {"type": "string", "not": {"const": "a"}}}')) s(schema);

-- Runs, in a transaction that is rolled back: nothing is sent.
\set ON_ERROR_ROLLBACK on
BEGIN;
SET ROLE regress_app;
SELECT reflex.run_agent('triage', NULL);
SELECT reflex.run_agent('nobody', '1');
SELECT reflex.run_agent('triage', '1', dedupe_key => 'x');
SELECT reflex.run_agent('triage', '{"a": 1}', session => 's') AS run \gset
SELECT reflex.run_result(:'run');
SELECT * FROM reflex.run_steps(:'run');
SELECT agent, status, session, role, input FROM reflex.runs;
SET ROLE regress_other;
SELECT count(*) FROM reflex.runs;
\set VERBOSITY sqlstate
SELECT reflex.run_result(:'run');
SELECT * FROM reflex.run_steps(:'run');
SELECT reflex.run_result('00000000-0000-0000-0000-000000000000');
\set VERBOSITY default
SET ROLE regress_admin;
SELECT agent, status FROM reflex.runs;
RESET ROLE;

-- The request, without a network.
SELECT jsonb_pretty(reflex_internal.model_request(NULL, NULL, jsonb_build_object('run', :'run', 'turn', 1)));
ROLLBACK;
\set ON_ERROR_ROLLBACK off

-- reflex_app may ask and not define.
SET ROLE regress_app;
SELECT reflex.create_agent('x', 'local:m');
SELECT reflex.create_provider('x', base_url => 'http://h');
SELECT count(*) FROM reflex.agents;
SELECT count(*) FROM reflex_internal.run;
RESET ROLE;

SELECT reflex.drop_agent('triage');
SELECT reflex.drop_agent('triage');
SELECT reflex.drop_provider('local');
SELECT reflex.drop_provider('local');
DROP ROLE regress_admin;
DROP ROLE regress_app;
DROP ROLE regress_other;
