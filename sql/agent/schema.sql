-- The part of JSON Schema that an agent's answer is held against.
--
-- Each keyword that a schema may use is checked here; any other is refused by
-- name when the agent is defined, so that nobody relies on a check that is not
-- made.  Messages name the place as a JSON pointer, for people and models.

-- Raises PT422 when the schema says something that shape_errors can't check.
CREATE OR REPLACE FUNCTION reflex_internal.check_subschema(p_schema jsonb, p_path text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known CONSTANT text[] := ARRAY['type', 'properties', 'required', 'enum', 'const',
        'additionalProperties', 'items', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems',
        'maxItems', 'title', 'description', 'default', 'examples', '$schema', '$comment'];
    v_types CONSTANT jsonb := '["object", "array", "string", "number", "integer", "boolean", "null"]';
    v_key text;
    v_value jsonb;
    v_good boolean;
BEGIN
    IF jsonb_typeof(p_schema) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'invalid output_schema',
            DETAIL = format('At %s: a schema is a JSON object.', p_path);
    END IF;
    FOR v_key, v_value IN SELECT s.key, s.value FROM jsonb_each(p_schema) AS s LOOP
        IF v_key <> ALL (v_known) THEN
            RAISE EXCEPTION USING ERRCODE = 'PT422',
                MESSAGE = format('output_schema: keyword "%s" is not supported', v_key),
                DETAIL = format('At %s.', p_path),
                HINT = format('Supported are: %s.', array_to_string(v_known, ', '));
        END IF;
        v_good := CASE
            WHEN v_key = 'type' AND jsonb_typeof(v_value) = 'array' THEN v_value <@ v_types AND v_value <> '[]'
            WHEN v_key = 'type' THEN jsonb_typeof(v_value) = 'string' AND v_types @> jsonb_build_array(v_value)
            WHEN v_key = 'properties' THEN jsonb_typeof(v_value) = 'object'
            WHEN v_key = 'required' THEN jsonb_typeof(v_value) = 'array'
                AND NOT jsonb_path_exists(v_value, 'strict $[*] ? (@.type() <> "string")')
            WHEN v_key = 'enum' THEN jsonb_typeof(v_value) = 'array' AND v_value <> '[]'
            WHEN v_key = 'additionalProperties' THEN jsonb_typeof(v_value) IN ('boolean', 'object')
            WHEN v_key = 'items' THEN jsonb_typeof(v_value) = 'object'
            WHEN v_key IN ('minimum', 'maximum') THEN jsonb_typeof(v_value) = 'number'
            WHEN v_key IN ('minLength', 'maxLength', 'minItems', 'maxItems')
                THEN jsonb_path_exists(v_value, '$ ? (@ >= 0 && @ == @.floor())')
            WHEN v_key IN ('title', 'description', '$schema', '$comment') THEN jsonb_typeof(v_value) = 'string'
            ELSE true END;
        IF NOT v_good THEN
            RAISE EXCEPTION USING ERRCODE = 'PT422',
                MESSAGE = format('output_schema: invalid value of "%s"', v_key),
                DETAIL = format('At %s: %s.', p_path, v_value);
        END IF;
        IF v_key = 'properties' THEN
            PERFORM reflex_internal.check_subschema(s.value, p_path || '/properties/' || s.key)
            FROM jsonb_each(v_value) AS s;
        ELSIF v_key = 'items' OR v_key = 'additionalProperties' AND jsonb_typeof(v_value) = 'object' THEN
            PERFORM reflex_internal.check_subschema(v_value, p_path || '/' || v_key);
        END IF;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_subschema(jsonb, text) FROM PUBLIC;

-- The root must be an object: that is what providers enforce.
CREATE OR REPLACE FUNCTION reflex_internal.check_schema(p_schema jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_schema IS NULL THEN
        RETURN;
    END IF;
    PERFORM reflex_internal.check_subschema(p_schema, '#');
    IF p_schema -> 'type' IS DISTINCT FROM '"object"' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'invalid output_schema',
            DETAIL = 'At #: the type of the whole must be "object".';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_schema(jsonb) FROM PUBLIC;

-- Does the schema fit what providers call strict: every object closed, every
-- property required?  Only then may they be asked to enforce it.
CREATE OR REPLACE FUNCTION reflex_internal.schema_is_strict(p_schema jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN p_schema IS NULL THEN true ELSE
        (p_schema ? 'type' OR p_schema ? 'enum' OR p_schema ? 'const')
        AND reflex_internal.schema_is_strict(p_schema -> 'items')
        AND (NOT coalesce(p_schema -> 'type' @> '"object"', false)
             OR p_schema -> 'additionalProperties' IS NOT DISTINCT FROM 'false'
             AND p_schema ? 'properties'
             AND NOT EXISTS (SELECT FROM jsonb_each(p_schema -> 'properties') AS p
                             WHERE NOT coalesce(p_schema -> 'required' ? p.key, false)
                                OR NOT reflex_internal.schema_is_strict(p.value)))
        END
$$;
REVOKE ALL ON FUNCTION reflex_internal.schema_is_strict(jsonb) FROM PUBLIC;

-- Is the value of this type?  JSON Schema counts 1.0 as an integer.
CREATE OR REPLACE FUNCTION reflex_internal.is_of_type(p_value jsonb, p_type text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE p_type
        WHEN 'integer' THEN CASE WHEN jsonb_typeof(p_value) = 'number'
            THEN p_value::numeric = trunc(p_value::numeric) ELSE false END
        ELSE jsonb_typeof(p_value) = p_type END
$$;
REVOKE ALL ON FUNCTION reflex_internal.is_of_type(jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.object_errors(p_schema jsonb, p_object jsonb, p_path text)
RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(e.error) FROM (
        SELECT format('%s: "%s" is missing', coalesce(nullif(p_path, ''), 'the answer'), r.key) AS error
        FROM jsonb_array_elements_text(coalesce(p_schema -> 'required', '[]')) AS r (key)
        WHERE NOT p_object ? r.key
        UNION ALL
        SELECT format('%s: "%s" is not allowed', coalesce(nullif(p_path, ''), 'the answer'), o.key)
        FROM jsonb_object_keys(p_object) AS o (key)
        WHERE p_schema -> 'additionalProperties' = 'false'
          AND NOT coalesce(p_schema -> 'properties' ? o.key, false)
        UNION ALL
        SELECT unnest(reflex_internal.shape_errors(
            coalesce(p_schema -> 'properties' -> o.key, p_schema -> 'additionalProperties'),
            o.value, p_path || '/' || replace(replace(o.key, '~', '~0'), '/', '~1')))
        FROM jsonb_each(p_object) AS o
        WHERE jsonb_typeof(coalesce(p_schema -> 'properties' -> o.key,
                                    p_schema -> 'additionalProperties')) = 'object') AS e
$$;
REVOKE ALL ON FUNCTION reflex_internal.object_errors(jsonb, jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.array_errors(p_schema jsonb, p_array jsonb, p_path text)
RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(e.error) FROM (
        SELECT format('%s: fewer than %s items', coalesce(nullif(p_path, ''), 'the answer'), p_schema ->> 'minItems') AS error
        WHERE jsonb_array_length(p_array) < (p_schema ->> 'minItems')::numeric
        UNION ALL
        SELECT format('%s: more than %s items', coalesce(nullif(p_path, ''), 'the answer'), p_schema ->> 'maxItems')
        WHERE jsonb_array_length(p_array) > (p_schema ->> 'maxItems')::numeric
        UNION ALL
        SELECT unnest(reflex_internal.shape_errors(p_schema -> 'items', a.value, p_path || '/' || (a.n - 1)))
        FROM jsonb_array_elements(p_array) WITH ORDINALITY AS a (value, n)
        WHERE p_schema ? 'items') AS e
$$;
REVOKE ALL ON FUNCTION reflex_internal.array_errors(jsonb, jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.scalar_errors(p_schema jsonb, p_value jsonb, p_path text)
RETURNS text[]
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_text text := p_value #>> '{}';
    v_errors text[];
BEGIN
    IF jsonb_typeof(p_value) = 'number' THEN
        v_errors := ARRAY[
            CASE WHEN v_text::numeric < (p_schema ->> 'minimum')::numeric
                 THEN 'is less than ' || (p_schema ->> 'minimum') END,
            CASE WHEN v_text::numeric > (p_schema ->> 'maximum')::numeric
                 THEN 'is greater than ' || (p_schema ->> 'maximum') END];
    ELSIF jsonb_typeof(p_value) = 'string' THEN
        v_errors := ARRAY[
            CASE WHEN length(v_text) < (p_schema ->> 'minLength')::numeric
                 THEN 'has fewer characters than ' || (p_schema ->> 'minLength') END,
            CASE WHEN length(v_text) > (p_schema ->> 'maxLength')::numeric
                 THEN 'has more characters than ' || (p_schema ->> 'maxLength') END];
    END IF;
    RETURN ARRAY(SELECT format('%s: %s', p_path, e.error) FROM unnest(v_errors) AS e (error)
                 WHERE e.error IS NOT NULL);
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.scalar_errors(jsonb, jsonb, text) FROM PUBLIC;

-- What keeps the instance from being of the schema's shape; empty when nothing
-- does.  p_path is where in the whole the instance stands.
CREATE OR REPLACE FUNCTION reflex_internal.shape_errors(p_schema jsonb, p_instance jsonb, p_path text DEFAULT '')
RETURNS text[]
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_types jsonb := CASE jsonb_typeof(p_schema -> 'type') WHEN 'string'
        THEN jsonb_build_array(p_schema -> 'type') ELSE p_schema -> 'type' END;
    v_at text := CASE p_path WHEN '' THEN 'the answer' ELSE p_path END;
    v_errors text[] := '{}';
BEGIN
    IF v_types IS NOT NULL AND NOT EXISTS (SELECT FROM jsonb_array_elements_text(v_types) AS t (name)
                                           WHERE reflex_internal.is_of_type(p_instance, t.name)) THEN
        RETURN ARRAY[format('%s: is of type %s, not %s', v_at, jsonb_typeof(p_instance),
            (SELECT string_agg(t.name, ' or ') FROM jsonb_array_elements_text(v_types) AS t (name)))];
    END IF;
    IF p_schema ? 'enum' AND NOT EXISTS (SELECT FROM jsonb_array_elements(p_schema -> 'enum') AS e (value)
                                         WHERE e.value = p_instance) THEN
        v_errors := v_errors || format('%s: is not one of %s', v_at, p_schema -> 'enum');
    END IF;
    IF p_schema ? 'const' AND p_schema -> 'const' <> p_instance THEN
        v_errors := v_errors || format('%s: is not %s', v_at, p_schema -> 'const');
    END IF;
    RETURN v_errors || CASE jsonb_typeof(p_instance)
        WHEN 'object' THEN reflex_internal.object_errors(p_schema, p_instance, p_path)
        WHEN 'array' THEN reflex_internal.array_errors(p_schema, p_instance, p_path)
        ELSE reflex_internal.scalar_errors(p_schema, p_instance, v_at) END;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.shape_errors(jsonb, jsonb, text) FROM PUBLIC;
