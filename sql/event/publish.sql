-- Publishing.

CREATE OR REPLACE FUNCTION reflex.publish(
    type text,
    payload jsonb DEFAULT '{}',
    source text DEFAULT NULL,
    session text DEFAULT NULL,
    meta jsonb DEFAULT NULL,
    dedupe_key text DEFAULT NULL,
    deliver_at timestamptz DEFAULT NULL)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_publish';
COMMENT ON FUNCTION reflex.publish(text, jsonb, text, text, jsonb, text, timestamptz) IS
'Publishes one event in the current transaction and returns its id: it exists if and only if the transaction commits. '
'type: what happened, 1 to 255 bytes, as "order.paid". source: who says so. session: key of the conversation it belongs to. '
'meta: a JSON object kept beside the payload; reflex.traceparent joins it. '
'dedupe_key: a second publish with the same key within reflex.dedupe_window adds nothing and returns the id of the first; it waits for a first that is still running. '
'deliver_at: keeps the event aside until then; the id is that of the delayed event (cancel_delayed), the event itself gets its own when it is due and carries this one in meta as delayed_id. '
'Errors: PT422 invalid argument or payload that does not match the schema of its type (register_event_type), PT413 payload above reflex.event_max_size, 55000 library not preloaded.';
REVOKE ALL ON FUNCTION reflex.publish(text, jsonb, text, text, jsonb, text, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.publish_many(events jsonb) RETURNS SETOF uuid
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_publish_many';
COMMENT ON FUNCTION reflex.publish_many(jsonb) IS
'Publishes an array of events, objects with the arguments of publish() as keys, in order, all or nothing; returns their ids in order. '
'Errors: PT422 with the index of the first invalid element, PT413.';
REVOKE ALL ON FUNCTION reflex.publish_many(jsonb) FROM PUBLIC;

-- For SQL of our own: appends to log 0 (event) or 1 (effect) without the checks of the public functions.
CREATE OR REPLACE FUNCTION reflex_internal.append(
    p_log integer, p_type text, p_payload jsonb, p_source text, p_session text, p_meta jsonb)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_append';
REVOKE ALL ON FUNCTION reflex_internal.append(integer, text, jsonb, text, text, jsonb) FROM PUBLIC;

-- Public ids; kinds as in RxIdKind (src/event/event.h).
CREATE OR REPLACE FUNCTION reflex_internal.make_id(
    p_kind integer, p_seq bigint, p_at timestamptz, p_node integer DEFAULT 0)
RETURNS uuid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_make_id';
REVOKE ALL ON FUNCTION reflex_internal.make_id(integer, bigint, timestamptz, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.id_parts(p_id uuid, OUT kind integer, OUT node integer, OUT seq bigint)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_id_parts';
REVOKE ALL ON FUNCTION reflex_internal.id_parts(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.event_id(p_seq bigint, p_created_at timestamptz, p_node integer)
RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.make_id(1, p_seq, p_created_at, p_node) $$;
REVOKE ALL ON FUNCTION reflex_internal.event_id(bigint, timestamptz, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.effect_id(p_seq bigint, p_created_at timestamptz, p_node integer)
RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.make_id(3, p_seq, p_created_at, p_node) $$;
REVOKE ALL ON FUNCTION reflex_internal.effect_id(bigint, timestamptz, integer) FROM PUBLIC;

-- What has been handed out, and the bounds of what running transactions hold of it.
CREATE OR REPLACE FUNCTION reflex_internal.log_position(p_log smallint, OUT next bigint, OUT held bigint[])
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_log_position';
REVOKE ALL ON FUNCTION reflex_internal.log_position(smallint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.log_next(p_log integer) RETURNS bigint
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT next FROM reflex_internal.log_position(p_log::smallint) $$;
REVOKE ALL ON FUNCTION reflex_internal.log_next(integer) FROM PUBLIC;

-- The first position at or after a time, by binary search: created_at never
-- goes back along seq.
CREATE OR REPLACE FUNCTION reflex_internal.event_seq_at(p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_low bigint := 0;
    v_high bigint := reflex_internal.log_next(0);
    v_middle bigint;
    v_row record;
BEGIN
    WHILE v_low < v_high LOOP
        v_middle := v_low + (v_high - v_low) / 2;
        SELECT e.seq, e.created_at INTO v_row FROM reflex_internal.event e
            WHERE e.seq >= v_middle AND e.seq < v_high ORDER BY e.seq LIMIT 1;
        IF NOT FOUND OR v_row.created_at >= p_at THEN
            v_high := v_middle;
        ELSE
            v_low := v_row.seq + 1;
        END IF;
    END LOOP;
    RETURN v_low;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.event_seq_at(timestamptz) FROM PUBLIC;
