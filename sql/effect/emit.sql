-- Emitting effects and seeing what became of them.

CREATE OR REPLACE FUNCTION reflex.emit(
    kind text, payload jsonb, session text DEFAULT NULL,
    dedupe_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'reflex_emit';
COMMENT ON FUNCTION reflex.emit(text, jsonb, text, text, timestamptz) IS
'Has an effect carried out once the transaction commits, at least once, and returns its id. kind http: {"url", "method", "headers", "body"}; slack: {"webhook": secret, "text" | "blocks"}; twilio.message: {"account", "to", "from", "body" | "content_sid", "content_variables"}. PT422: unknown kind or a payload that does not fit it. 0A000: dedupe_key and deliver_at are not yet supported. 55000: reflex is not preloaded.';
REVOKE ALL ON FUNCTION reflex.emit(text, jsonb, text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.emit(text, jsonb, text, text, timestamptz) TO reflex_app, reflex_admin;

-- For the other rooms: any kind, no check of the payload.  p_meta null: the
-- trace context of the session.
CREATE OR REPLACE FUNCTION reflex_internal.emit_effect(
    p_kind text, p_payload jsonb, p_session text DEFAULT NULL, p_meta jsonb DEFAULT NULL)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'reflex_emit_effect';
REVOKE ALL ON FUNCTION reflex_internal.emit_effect(text, jsonb, text, jsonb) FROM PUBLIC;

-- Whether the process that began an attempt is still the one with this number.
-- Of the extension's owner, because others may not see when a process started.
CREATE OR REPLACE FUNCTION reflex_internal.worker_lives(p_worker integer, p_since timestamptz)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_stat_get_activity(p_worker) a
        WHERE a.backend_start <= p_since)
$$;
REVOKE ALL ON FUNCTION reflex_internal.worker_lives(integer, timestamptz) FROM PUBLIC;

-- A view checks the right to call a function against whoever reads it.
GRANT EXECUTE ON FUNCTION reflex_internal.worker_lives(integer, timestamptz)
    TO reflex_admin, reflex_app, reflex_monitor;
GRANT EXECUTE ON FUNCTION reflex_internal.make_id(integer, bigint, timestamptz, integer)
    TO reflex_admin, reflex_app, reflex_monitor;

CREATE OR REPLACE VIEW reflex.effects WITH (security_barrier) AS
SELECT i.id,
       e.type AS kind,
       e.session,
       CASE WHEN d.waiting OR (a.dead AND coalesce(d.retried_at < a.at, true)) THEN 'dead'
            WHEN a.seq IS NULL THEN 'pending'
            WHEN a.outcome IS NULL AND reflex_internal.worker_lives(a.worker, a.started_at) THEN 'executing'
            WHEN a.outcome IS NULL THEN 'unknown'
            WHEN a.outcome = 'failed' OR a.dead THEN 'pending'
            ELSE a.outcome END AS state,
       coalesce(a.attempt, 0) AS attempts,
       o.status AS last_status,
       o.error AS last_error,
       e.created_at,
       coalesce(a.at, a.started_at, e.created_at) AS updated_at,
       o.answer
FROM reflex_internal.effect e
CROSS JOIN LATERAL (
    SELECT reflex_internal.make_id(3, e.seq, e.created_at, e.node) AS id) i
LEFT JOIN LATERAL (
    SELECT t.seq, t.attempt, t.worker, t.started_at, r.at, r.outcome, r.dead
    FROM reflex_internal.effect_attempt t
    LEFT JOIN reflex_internal.effect_outcome r ON r.seq = t.seq AND r.attempt = t.attempt
    WHERE t.seq = e.seq
    ORDER BY t.attempt DESC
    LIMIT 1) a ON true
LEFT JOIN LATERAL (
    SELECT r.status, r.error, r.answer
    FROM reflex_internal.effect_outcome r
    WHERE r.seq = e.seq
    ORDER BY r.attempt DESC
    LIMIT 1) o ON true
CROSS JOIN LATERAL (
    SELECT bool_or(l.retried_at IS NULL) AS waiting, max(l.retried_at) AS retried_at
    FROM reflex_internal.dead_letter l
    WHERE l.event_id = i.id) d
WHERE e.role = current_user
   OR pg_catalog.pg_has_role(current_user, 'reflex_admin', 'USAGE')
   OR pg_catalog.pg_has_role(current_user, 'reflex_monitor', 'USAGE');
COMMENT ON VIEW reflex.effects IS
'What became of effects: pending, executing, completed, unknown (sent, and no answer on record), dead (see dlq_list). last_error and answer are those of the last attempt that ended. reflex_app sees those of its own role.';
REVOKE ALL ON reflex.effects FROM PUBLIC;
GRANT SELECT ON reflex.effects TO reflex_admin, reflex_app, reflex_monitor;

CREATE OR REPLACE VIEW reflex.effect_kinds AS
SELECT k.kind FROM reflex_internal.effect_kind k WHERE k.public;
COMMENT ON VIEW reflex.effect_kinds IS 'The kinds of effects that reflex.emit takes.';
REVOKE ALL ON reflex.effect_kinds FROM PUBLIC;
GRANT SELECT ON reflex.effect_kinds TO reflex_admin, reflex_app, reflex_monitor;
