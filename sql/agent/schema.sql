-- What an agent's answer is held against: JSON Schema (sql/json), with an object
-- as the whole.

-- The root must be an object: that is what providers enforce.
CREATE OR REPLACE FUNCTION reflex_internal.check_schema(p_schema jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_schema IS NULL THEN
        RETURN;
    END IF;
    PERFORM reflex.json_schema_check(p_schema);
    IF p_schema -> 'type' IS DISTINCT FROM '"object"' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'invalid output_schema',
            DETAIL = 'At #: the type of the whole must be "object".';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_schema(jsonb) FROM PUBLIC;

-- Does the schema fit what providers call strict: every object closed, every
-- property required, and no keyword that they do not know?  Only then may they
-- be asked to enforce it.
CREATE OR REPLACE FUNCTION reflex_internal.schema_is_strict(p_schema jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN p_schema IS NULL THEN true WHEN jsonb_typeof(p_schema) <> 'object' THEN false ELSE
        p_schema ?| ARRAY['type', 'enum', 'const', 'anyOf', '$ref']
        AND NOT EXISTS (SELECT FROM jsonb_object_keys(p_schema) AS k (name)
                        WHERE k.name <> ALL (ARRAY['type', 'properties', 'required', 'enum', 'const',
                            'additionalProperties', 'items', 'anyOf', '$ref', '$defs', 'definitions', 'pattern', 'format',
                            'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf',
                            'minLength', 'maxLength', 'minItems', 'maxItems',
                            'title', 'description', 'default', 'examples', '$schema', '$comment']))
        AND reflex_internal.schema_is_strict(p_schema -> 'items')
        AND NOT EXISTS (SELECT FROM jsonb_array_elements(coalesce(p_schema -> 'anyOf', '[]')) AS a (value)
                        WHERE NOT reflex_internal.schema_is_strict(a.value))
        AND NOT EXISTS (SELECT FROM jsonb_each(coalesce(p_schema -> '$defs', '{}') || coalesce(p_schema -> 'definitions', '{}')) AS d
                        WHERE NOT reflex_internal.schema_is_strict(d.value))
        AND (NOT coalesce(p_schema -> 'type' @> '"object"', false)
             OR p_schema -> 'additionalProperties' IS NOT DISTINCT FROM 'false'
             AND p_schema ? 'properties'
             AND NOT EXISTS (SELECT FROM jsonb_each(p_schema -> 'properties') AS p
                             WHERE NOT coalesce(p_schema -> 'required' ? p.key, false)
                                OR NOT reflex_internal.schema_is_strict(p.value)))
        END
$$;
REVOKE ALL ON FUNCTION reflex_internal.schema_is_strict(jsonb) FROM PUBLIC;

-- What keeps the answer from matching the schema, for people and models; empty
-- when nothing does.  More than a few reasons help nobody to do better.
CREATE OR REPLACE FUNCTION reflex_internal.answer_errors(p_schema jsonb, p_answer jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(format('%s: %s', coalesce(nullif(e.instance_path, ''), 'the answer'), e.message) ORDER BY e.n), '{}')
    FROM reflex.json_schema_errors(p_schema, p_answer) WITH ORDINALITY AS e (instance_path, schema_path, message, n)
    WHERE e.n <= 50
$$;
REVOKE ALL ON FUNCTION reflex_internal.answer_errors(jsonb, jsonb) FROM PUBLIC;
