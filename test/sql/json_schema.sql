-- JSON Schema on jsonb.  What the official suite tests is left to it
-- (test/t/020_json_schema_suite.pl); here is what reflex adds: what it refuses,
-- what it says, and where it stops.
\set SHOW_CONTEXT never
SELECT reflex.json_schema_check('{"type": "object", "properties": {"a": {"$ref": "#"}}, "x-note": 1}');
SELECT reflex.json_schema_is_valid('{"type": "integer"}', '1.0'), reflex.json_schema_is_valid('{"type": "integer"}', '1.5'),
       reflex.json_schema_is_valid('{"type": "integer"}', NULL), reflex.json_schema_is_valid(NULL, '1');

-- numbers are exact
SELECT s.schema, s.instance, reflex.json_schema_is_valid(s.schema, s.instance) FROM (VALUES
    ('{"multipleOf": 0.1}'::jsonb, '0.3'::jsonb),
    ('{"multipleOf": 0.01}', '19.99'),
    ('{"multipleOf": 0.01}', '19.999'),
    ('{"multipleOf": 1e-20}', '1e-20'),
    ('{"multipleOf": 1e-20}', '1.5e-20'),
    ('{"const": 12345678901234567890}', '12345678901234567891'),
    ('{"maximum": 12345678901234567890}', '12345678901234567890.0000001'),
    ('{"type": "integer"}', '1e30'),
    ('{"uniqueItems": true}', '[1, 1.0]')) s(schema, instance);

-- the place and the reason, in the same order every time
CREATE FUNCTION errors(schema jsonb, instance jsonb) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s | %s | %s', instance_path, schema_path, message) FROM reflex.json_schema_errors(schema, instance)
$$;
SELECT errors('{"$defs": {"name": {"type": "string", "minLength": 2}},
    "type": "object", "required": ["a", "b", "zz"], "additionalProperties": false, "minProperties": 9,
    "properties": {"a": {"$ref": "#/$defs/name"}, "b": {"type": ["integer", "null"], "maximum": 3},
        "c/d": {"items": {"enum": [1, "x"]}}, "e~f": {"const": {"k": [1]}}},
    "patternProperties": {"^n_": {"type": "number"}}}',
    '{"a": "x", "b": 4, "c/d": [1, 2, "x", null], "e~f": {"k": [2]}, "n_1": "1", "other": 1}');
SELECT errors('{"type": "string", "minLength": 3}', '1');
SELECT errors('{"minLength": 3, "maxLength": 1, "pattern": "^a+$", "format": "date"}', '"bb"');
SELECT errors('{"minLength": 2}', '"😀"');
SELECT errors('{"minimum": 3, "maximum": 1, "exclusiveMinimum": 2, "exclusiveMaximum": 2, "multipleOf": 1.5}', '2');
SELECT errors('{"minItems": 4, "maxItems": 2, "uniqueItems": true, "contains": {"type": "null"}, "prefixItems": [{"type": "string"}], "items": false}', '[1, 2, 1]');
SELECT errors('{"contains": {"type": "integer"}, "minContains": 2, "maxContains": 3}', '[1, 2, 3, 4]');
SELECT errors('{"propertyNames": {"maxLength": 1}, "dependentRequired": {"a": ["b", "c"]}, "maxProperties": 1}', '{"a": 1, "cc": 2}');
SELECT errors('{"not": {"type": "null"}}', 'null');
SELECT errors('{"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}', i) FROM (VALUES ('{"a": 1}'::jsonb), ('{}'), ('{"c": 1}')) v(i);
SELECT errors('false', '{}');
SELECT errors('{"properties": {"a": false}}', '{"a": 1}');
-- of alternatives, the only one for values of that type tells more
SELECT errors('{"anyOf": [{"type": "null"}, {"type": "object", "required": ["a"]}]}', i) FROM (VALUES ('{}'::jsonb), ('1'), ('null')) v(i);
SELECT errors('{"oneOf": [{"type": "integer"}, {"minimum": 2}]}', i) FROM (VALUES ('3'::jsonb), ('1.5'), ('1')) v(i);
SELECT errors('{"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"x": {"$ref": "#/$defs/a"}}, "unevaluatedProperties": false}}}', '{"x": {"x": {"y": 1, "z": 2}}}');
SELECT errors('{"prefixItems": [true], "unevaluatedItems": {"type": "string"}}', '[1, "a", 2]');
-- values that are not shown whole
SELECT errors(jsonb_build_object('const', repeat('x', 1000)), '1') ~ '^ \| /const \| is not "x{99}\.\.\.$';

-- nothing is ignored
SELECT reflex.json_schema_check('{"properties": {"a": {"items": {"minLenght": 1}}}}');
SELECT reflex.json_schema_is_valid('{"minLenght": 1}', '"a"');
SELECT * FROM reflex.json_schema_errors('{"$dynamicRef": "#a"}', '1');
SELECT reflex.json_schema_check('[]');
SELECT reflex.json_schema_check('{"items": 1}');
SELECT reflex.json_schema_check('{"type": "text"}');
SELECT reflex.json_schema_check('{"type": []}');
SELECT reflex.json_schema_check('{"$defs": {"a/b": {"minLength": -1}}}');
SELECT reflex.json_schema_check('{"minLength": 1.5}');
SELECT reflex.json_schema_check('{"minLength": 2.0}');
SELECT reflex.json_schema_check('{"multipleOf": 0}');
SELECT reflex.json_schema_check('{"required": "a"}');
SELECT reflex.json_schema_check('{"required": [1]}');
SELECT reflex.json_schema_check('{"enum": "a"}');
SELECT reflex.json_schema_check('{"anyOf": []}');
SELECT reflex.json_schema_check('{"format": "hostname"}');
SELECT reflex.json_schema_check('{"uniqueItems": "yes"}');
SELECT reflex.json_schema_check('{"$schema": "http://json-schema.org/draft-04/schema#"}');
SELECT reflex.json_schema_check('{"title": 1}');
SELECT reflex.json_schema_check('{"properties": {"a": {"$ref": "#/properties/b"}}}');
SELECT reflex.json_schema_check('{"$ref": "http://example.com/schema"}');
SELECT reflex.json_schema_check('{"$ref": "#nowhere"}');

-- a schema may come back to itself for parts of a value, not for the whole
SELECT reflex.json_schema_check('{"$ref": "#"}');
SELECT reflex.json_schema_check('{"$defs": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}');
SELECT errors('{"$id": "http://example.com/tree", "$defs": {"node": {"$anchor": "node", "type": "object", "properties": {"next": {"$ref": "tree#node"}}}}, "$ref": "#node"}', '{"next": {"next": {"next": 1}}}');

-- spellings of draft-07
SELECT errors('{"definitions": {"a": {"type": "string"}}, "items": [{"$ref": "#/definitions/a"}], "additionalItems": {"type": "null"}, "dependencies": {"a": ["b"], "c": {"required": ["d"]}}}', i)
FROM (VALUES ('[1, 2]'::jsonb), ('{"a": 1, "c": 2}')) v(i);
SELECT errors('{"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a", "maxLength": 1, "definitions": {"a": {"type": "string"}}}', '"long"');

-- regular expressions are those of ECMAScript
SELECT p, s, reflex.json_schema_is_valid(jsonb_build_object('pattern', p), to_jsonb(s)) FROM (VALUES
    ('^a$', E'a\n'), ('^a$', E'b\na'), ('^.$', E'\n'), ('^.$', 'ä'), ('^\d+$', '٣'), ('^\w+$', 'ä'), ('^\W+$', 'ä'), ('^\s$', E'\u00a0'), ('^\S$', E'\u00a0'),
    ('^[\s\S]$', E'\n'), ('^[^]$', E'\n'), ('^[\w.-]+$', 'a.b-c'), ('^[\w-.]+$', 'a.b-c'), ('^[[:alpha:]]+$', ':]'), ('\bfoo\b', 'a foo b'), ('\bfoo\b', 'afoo'),
    ('^(?<y>\d{4})-(?:0[1-9]|1[0-2])$', '2026-11'), ('^a(?=b)', 'ab'), ('(?<!a)b', 'ab'), ('^a{2}$', 'aa'), ('^a{$', 'a{'), ('^\u{1F600}$', '😀'), ('^\uD83D\uDE00$', '😀'),
    ('^\x41\cI\t$', E'A\t\t'), ('a]', 'a]'), ('^\/\-\.$', '/-.'), ('^(a+)+$', repeat('a', 30) || '!')) v(p, s);
SELECT reflex.json_schema_check('{"pattern": "(?i)a"}');
SELECT reflex.json_schema_check('{"pattern": "(a)\\1"}');
SELECT reflex.json_schema_check('{"pattern": "\\p{L}"}');
SELECT reflex.json_schema_check('{"pattern": "\\Z"}');
SELECT reflex.json_schema_check('{"pattern": "[]"}');
SELECT reflex.json_schema_check('{"pattern": "[a"}');
SELECT reflex.json_schema_check('{"pattern": "a\\"}');
SELECT reflex.json_schema_check('{"pattern": "***=a"}');
SELECT reflex.json_schema_check('{"pattern": "a{1,256}"}');
SELECT reflex.json_schema_check('{"patternProperties": {"(": true}}');
SELECT reflex.json_schema_check(jsonb_build_object('pattern', repeat('a', 1001)));

-- limits
SELECT reflex.json_schema_check((repeat('{"not":', 99) || 'true' || repeat('}', 99))::jsonb);
SELECT reflex.json_schema_check((repeat('{"not":', 100) || 'true' || repeat('}', 100))::jsonb);
SELECT reflex.json_schema_check(jsonb_build_object('allOf', (SELECT jsonb_agg(true) FROM generate_series(1, 10000))));
SELECT reflex.json_schema_check(jsonb_build_object('title', repeat('x', 1024 * 1024)));
SELECT reflex.json_schema_is_valid('{"properties": {"a": {"$ref": "#"}}, "type": ["object", "null"]}',
    (repeat('{"a":', 1000) || i || repeat('}', 1000))::jsonb) FROM (VALUES ('null'), ('1')) v(i);
-- what takes for ever can be cancelled
SET statement_timeout = '100ms';
SELECT reflex.json_schema_is_valid((SELECT jsonb_build_object('$ref', '#/$defs/s0', '$defs',
    jsonb_object_agg('s' || n, CASE n WHEN 40 THEN '{}' ELSE jsonb_build_object('allOf', jsonb_build_array(r, r)) END))
    FROM (SELECT n, jsonb_build_object('$ref', '#/$defs/s' || n + 1) AS r FROM generate_series(0, 40) n) s), '1');
RESET statement_timeout;

-- more schemas than are kept, and again
SELECT count(*) FILTER (WHERE reflex.json_schema_is_valid(jsonb_build_object('maximum', n % 200), '100')) FROM generate_series(1, 1000) n;

-- who may
CREATE ROLE regress_json;
SET ROLE regress_json;
SELECT reflex.json_schema_is_valid('true', '1');
RESET ROLE;
GRANT reflex_monitor TO regress_json;
SET ROLE regress_json;
SELECT reflex.json_schema_is_valid('true', '1');
RESET ROLE;
DROP ROLE regress_json;
DROP FUNCTION errors(jsonb, jsonb);
