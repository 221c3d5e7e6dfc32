-- Event types: a name, and a schema that the payload of its events matches.
--
-- Types that reflex brings are not rows of the table, so that a dump has only
-- what users have said, and a new version may bring others.

CREATE OR REPLACE FUNCTION reflex_internal.event_types_changed() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_event_types_changed';
REVOKE ALL ON FUNCTION reflex_internal.event_types_changed() FROM PUBLIC;

CREATE OR REPLACE VIEW reflex_internal.shipped_event_type (type, schema, description) WITH (security_invoker = true) AS
    VALUES
        ('ws.message', '{"type": "object", "properties": {"connection_id": {"type": "string", "minLength": 1}, "content": true},
            "required": ["connection_id", "content"]}'::jsonb,
         'A message from a WebSocket client: connection_id says from whom, content is what it sent.'),
        ('http.request', '{"type": "object", "properties": {
                "method": {"type": "string", "pattern": "^[A-Za-z]+$"},
                "path": {"type": "string", "pattern": "^/"},
                "headers": {"type": "object", "additionalProperties": {"type": ["string", "array"], "items": {"type": "string"}}},
                "body": true},
            "required": ["method", "path"]}',
         'A request to an HTTP server: method, path, headers (strings, or arrays of them), body.'),
        ('timer.tick', '{"type": "object", "properties": {"timer_name": {"type": "string", "minLength": 1},
                "tick_count": {"type": "integer", "minimum": 0}},
            "required": ["timer_name", "tick_count"]}',
         'A timer has fired: which one, and for which time.'),
        ('lifecycle', '{"type": "object", "properties": {"action": {"type": "string", "minLength": 1}, "details": {"type": "object"}},
            "required": ["action"]}',
         'Something began or ended: action says what ("started", "stopped"), details is an object.'),
        ('agent.completed', '{"type": "object", "properties": {"run": {"type": "string", "format": "uuid"}, "agent": {"type": "string"}},
            "required": ["run", "agent"]}',
         'A run of an agent has its answer: run, agent, usage, input, result; too_large instead of the last two.'),
        ('agent.failed', '{"type": "object", "properties": {"run": {"type": "string", "format": "uuid"}, "agent": {"type": "string"}},
            "required": ["run", "agent"]}',
         'A run of an agent has failed for good: run, agent, usage, error, input.');

CREATE OR REPLACE VIEW reflex.event_types AS
    SELECT t.type, t.schema, t.description, false AS shipped, t.owner, t.created_at
    FROM reflex_internal.event_type t
    WHERE t.schema IS NOT NULL
    UNION ALL
    SELECT s.type, s.schema, s.description, true, NULL, NULL
    FROM reflex_internal.shipped_event_type s
    WHERE NOT EXISTS (SELECT FROM reflex_internal.event_type t WHERE t.type OPERATOR(pg_catalog.=) s.type);
COMMENT ON VIEW reflex.event_types IS
'Registered event types: the JSON Schema that payloads must match, and whether the type comes with reflex (shipped) or from register_event_type().';

-- Runs of agents end with an event of these, whatever anybody says of them.
CREATE OR REPLACE FUNCTION reflex_internal.check_event_type(p_type text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_type IN ('agent.completed', 'agent.failed') THEN
        RAISE EXCEPTION 'event type "%" is reserved', p_type USING ERRCODE = 'PT403',
            DETAIL = 'Its events are published by reflex itself.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_event_type(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.register_event_type(type text, schema jsonb, description text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF register_event_type.type IS NULL OR octet_length(register_event_type.type) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'event type must have 1 to 255 bytes' USING ERRCODE = 'PT422';
    END IF;
    PERFORM reflex_internal.check_event_type(register_event_type.type);
    IF register_event_type.schema IS NULL THEN
        RAISE EXCEPTION 'schema must not be null' USING ERRCODE = 'PT422',
            HINT = 'The schema true matches everything.';
    END IF;
    PERFORM reflex.json_schema_check(register_event_type.schema);
    INSERT INTO reflex_internal.event_type AS t (type, schema, description)
    VALUES (register_event_type.type, register_event_type.schema, register_event_type.description)
    ON CONFLICT ON CONSTRAINT event_type_pkey DO UPDATE
        SET schema = excluded.schema, description = excluded.description,
            owner = excluded.owner, created_at = excluded.created_at;
    PERFORM reflex_internal.event_types_changed();
END
$$;
COMMENT ON FUNCTION reflex.register_event_type(text, jsonb, text) IS
'From the commit on, publish() takes events of this type only with payloads that match the JSON Schema (see json_schema_check). '
'Replaces the type if it exists, those that come with reflex too. Events that are there are not looked at. '
'Errors: PT422 invalid type, or a schema that says something that is not supported; PT403 agent.completed and agent.failed, which reflex publishes itself.';
REVOKE ALL ON FUNCTION reflex.register_event_type(text, jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.drop_event_type(type text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_event_type(drop_event_type.type);
    IF NOT EXISTS (SELECT FROM reflex.event_types e WHERE e.type = drop_event_type.type) THEN
        RAISE EXCEPTION 'event type "%" does not exist', drop_event_type.type USING ERRCODE = 'PT404',
            HINT = 'The view reflex.event_types has those that do.';
    END IF;
    DELETE FROM reflex_internal.event_type t WHERE t.type = drop_event_type.type;
    INSERT INTO reflex_internal.event_type (type)
    SELECT s.type FROM reflex_internal.shipped_event_type s WHERE s.type = drop_event_type.type;
    PERFORM reflex_internal.event_types_changed();
END
$$;
COMMENT ON FUNCTION reflex.drop_event_type(text) IS
'Events of this type may have any payload again (unless reflex.strict_event_types is on, which then refuses them). '
'Errors: PT404 no such type, PT403 agent.completed and agent.failed.';
REVOKE ALL ON FUNCTION reflex.drop_event_type(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.publish_ws_message(client_id text, content jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('ack', reflex.publish('ws.message',
        jsonb_build_object('connection_id', client_id, 'content', content), source => 'ws:' || client_id))
$$;
COMMENT ON FUNCTION reflex.publish_ws_message(text, jsonb) IS
'Publishes a "ws.message" event with source "ws:<client_id>" and answers {"ack": event id}. '
'content: any JSON; text is a JSON string (to_jsonb). '
'Errors: as publish().';
REVOKE ALL ON FUNCTION reflex.publish_ws_message(text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.publish_http_request(
    method text, path text, headers jsonb DEFAULT '{}', body jsonb DEFAULT NULL)
RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT reflex.publish('http.request',
        jsonb_build_object('method', method, 'path', path, 'headers', headers, 'body', body))
$$;
COMMENT ON FUNCTION reflex.publish_http_request(text, text, jsonb, jsonb) IS
'Publishes an "http.request" event and returns its id. path begins with /; headers: an object of strings or arrays of strings; '
'leave out those that are secret. '
'Errors: as publish().';
REVOKE ALL ON FUNCTION reflex.publish_http_request(text, text, jsonb, jsonb) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION reflex.register_event_type(text, jsonb, text), reflex.drop_event_type(text) TO reflex_admin;
GRANT EXECUTE ON FUNCTION
    reflex.publish_ws_message(text, jsonb),
    reflex.publish_http_request(text, text, jsonb, jsonb)
TO reflex_app, reflex_admin;
GRANT SELECT ON reflex.event_types TO reflex_app, reflex_admin, reflex_monitor;
