-- Reading the log again, without a subscription.

CREATE OR REPLACE FUNCTION reflex_internal.type_matches(p_type text, p_patterns text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p_patterns IS NULL OR EXISTS (
        SELECT FROM unnest(p_patterns) p
        WHERE p = p_type OR (right(p, 2) = '.*' AND starts_with(p_type, left(p, -1))
               AND length(p_type) >= length(p)))
$$;
REVOKE ALL ON FUNCTION reflex_internal.type_matches(text, text[]) FROM PUBLIC;

CREATE OR REPLACE VIEW reflex.events AS
    SELECT reflex_internal.make_id(1, e.seq, e.created_at, e.node) AS event_id,
           e.type, e.source, e.session, e.seq, e.payload, e.meta, e.role, e.created_at
    FROM reflex_internal.event e;
COMMENT ON VIEW reflex.events IS 'The event log: every event that has been published, by position (seq).';

CREATE OR REPLACE FUNCTION reflex.replay(
    since timestamptz,
    until timestamptz DEFAULT NULL,
    types text[] DEFAULT NULL,
    session text DEFAULT NULL)
RETURNS SETOF reflex.events
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_first bigint := reflex_internal.event_seq_at(replay.since);
    v_last bigint := CASE WHEN replay.until IS NULL THEN 9223372036854775807
                          ELSE reflex_internal.event_seq_at(replay.until) END;
BEGIN
    RETURN QUERY
    SELECT e.* FROM reflex.events e
    WHERE e.seq >= v_first AND e.seq < v_last
      AND reflex_internal.type_matches(e.type, replay.types)
      AND (replay.session IS NULL OR e.session = replay.session)
    ORDER BY e.seq;
END
$$;
COMMENT ON FUNCTION reflex.replay(timestamptz, timestamptz, text[], text) IS
'Returns the events published in [since, until) in order of position; types as in subscribe(). '
'Delivers nothing and changes nothing: to process events again, subscribe with start_at.';
REVOKE ALL ON FUNCTION reflex.replay(timestamptz, timestamptz, text[], text) FROM PUBLIC;
