-- JSON Schema on jsonb (src/json/).

CREATE OR REPLACE FUNCTION reflex.json_schema_check(schema jsonb) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_json_schema_check';
COMMENT ON FUNCTION reflex.json_schema_check(jsonb) IS
'True when the schema is one that reflex can hold values against, whole: JSON Schema draft 2020-12 and the spellings of draft-07. '
'References lead to places in the same schema; format checks date-time, date, time, uuid, email, uri, ipv4 and ipv6; '
'patterns are those of ECMAScript without back references and \p. Keywords that begin with "x-" are notes. '
'At most 1 MB, 10000 schemas, 100 deep. '
'Errors: PT422 naming the keyword that is not supported or has an invalid value, and where it is.';
REVOKE ALL ON FUNCTION reflex.json_schema_check(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.json_schema_is_valid(schema jsonb, instance jsonb) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_json_schema_is_valid';
COMMENT ON FUNCTION reflex.json_schema_is_valid(jsonb, jsonb) IS
'Does the instance match the schema?  See json_schema_check for what schemas may say; each session compiles a schema once. '
'Errors: PT422 as json_schema_check.';
REVOKE ALL ON FUNCTION reflex.json_schema_is_valid(jsonb, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.json_schema_errors(
    schema jsonb, instance jsonb, OUT instance_path text, OUT schema_path text, OUT message text)
RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_json_schema_errors';
COMMENT ON FUNCTION reflex.json_schema_errors(jsonb, jsonb) IS
'What keeps the instance from matching the schema, in the same order every time; no rows when it matches. '
'instance_path and schema_path are JSON pointers, empty for the whole, to the value and to the keyword that it violates. '
'Errors: PT422 as json_schema_check.';
REVOKE ALL ON FUNCTION reflex.json_schema_errors(jsonb, jsonb) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    reflex.json_schema_check(jsonb),
    reflex.json_schema_is_valid(jsonb, jsonb),
    reflex.json_schema_errors(jsonb, jsonb)
TO reflex_app, reflex_admin, reflex_monitor;
