-- Views on what flows: subscriptions, deliveries, stats.

-- How far each subscription is, from shared memory.
CREATE OR REPLACE FUNCTION reflex_internal.progress(
    OUT subscription integer, OUT "position" bigint, OUT unread bigint, OUT returned bigint,
    OUT leased bigint, OUT waiting bigint, OUT oldest_at timestamptz,
    OUT delivered bigint, OUT acked bigint, OUT failed bigint, OUT expired bigint, OUT dead bigint)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_progress';
REVOKE ALL ON FUNCTION reflex_internal.progress() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex_internal.progress() TO reflex_admin, reflex_monitor;

-- Whose snapshot keeps VACUUM from removing what has died since; of all roles.
CREATE OR REPLACE FUNCTION reflex_internal.xmin_holder() RETURNS integer
LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.pid FROM pg_stat_activity a
    WHERE a.backend_xmin IS NOT NULL AND a.datname = current_database() AND a.pid <> pg_backend_pid()
    ORDER BY age(a.backend_xmin) DESC, a.xact_start LIMIT 1
$$;
REVOKE ALL ON FUNCTION reflex_internal.xmin_holder() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex_internal.xmin_holder() TO reflex_admin, reflex_monitor;

CREATE OR REPLACE VIEW reflex.subscriptions AS
    SELECT s.name AS subscription,
           CASE s.log WHEN 0 THEN 'event' ELSE 'effect' END AS log,
           s.types, s.filter, s.ordered, s.paused, s.system OR s.retry_only AS internal, s.owner, s.created_at,
           p."position", p.unread + p.returned AS lag_events,
           CASE WHEN p.subscription IS NOT NULL
                THEN greatest(extract(epoch FROM clock_timestamp() - p.oldest_at), 0) END AS lag_seconds,
           p.oldest_at AS oldest_unsettled, p.leased AS leases, p.waiting AS retries,
           coalesce(d.letters, 0) AS dead_letters,
           p.delivered, p.acked, p.failed, p.expired, p.dead,
           x.pid AS xmin_pinned_by
    FROM reflex_internal.subscription s
    LEFT JOIN reflex_internal.progress() p ON p.subscription = s.id
    LEFT JOIN (SELECT l.subscription, count(*) AS letters FROM reflex_internal.dead_letter l
               WHERE l.retried_at IS NULL GROUP BY l.subscription) d ON d.subscription = s.id
    CROSS JOIN (SELECT reflex_internal.xmin_holder() AS pid) x;
COMMENT ON VIEW reflex.subscriptions IS
'How far every subscription is. position: read up to here. lag_events: what may be received and is not, counted in positions, so gaps and '
'types that it does not want count too. lag_seconds: age of the oldest event that is not read or not settled (oldest_unsettled). '
'leases: events that are out. retries: events that wait for their time. dead_letters: not worked yet. delivered, acked, failed, expired, dead: '
'since the server started. xmin_pinned_by: the process of this database with the oldest snapshot. '
'internal: of reflex itself ("rule:<name>": the failures of a rule). On a standby what is in the memory of the primary is null.';

-- What has become of an event in a subscription, from shared memory.  STABLE:
-- one query sees one picture.
CREATE OR REPLACE FUNCTION reflex_internal.delivery_state(
    p_subscription integer, p_seq bigint,
    OUT status text, OUT attempt integer, OUT due timestamptz, OUT leased boolean)
LANGUAGE c STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_delivery_state';
REVOKE ALL ON FUNCTION reflex_internal.delivery_state(integer, bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.settled_at(p_subscription integer, p_seq bigint) RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'reflex_settled_at';
REVOKE ALL ON FUNCTION reflex_internal.settled_at(integer, bigint) FROM PUBLIC;

-- The last failure that the journal knows of, since the event was put back last.
CREATE OR REPLACE FUNCTION reflex_internal.last_failure(
    p_subscription integer, p_seq bigint, OUT attempt integer, OUT error text)
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.attempt, d.error FROM reflex_internal.delivery d
    WHERE d.subscription = p_subscription AND d.kind <> 's'
      AND (d.kind = 'f' AND d.seq = p_seq
           OR d.kind = 'e' AND d.seq IS NULL AND EXISTS (
               SELECT FROM generate_series(1, cardinality(d.ranges), 2) i
               WHERE d.ranges[i] <= p_seq AND d.ranges[i + 1] > p_seq))
      AND d.no > (SELECT coalesce(max(r.no), -1) FROM reflex_internal.delivery r
                  WHERE r.subscription = p_subscription AND r.kind <> 's' AND r.kind = 'r' AND r.seq = p_seq)
    ORDER BY d.no DESC LIMIT 1
$$;
REVOKE ALL ON FUNCTION reflex_internal.last_failure(integer, bigint) FROM PUBLIC;

-- Was it at or above the start of the subscription, or held by a publisher then?
CREATE OR REPLACE FUNCTION reflex_internal.starts_before(p_start bigint, p_holes bigint[], p_seq bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p_seq >= p_start OR EXISTS (
        SELECT FROM generate_series(1, cardinality(p_holes), 2) i
        WHERE p_holes[i] <= p_seq AND p_holes[i + 1] > p_seq)
$$;
REVOKE ALL ON FUNCTION reflex_internal.starts_before(bigint, bigint[], bigint) FROM PUBLIC;

CREATE OR REPLACE VIEW reflex.deliveries AS
    SELECT reflex_internal.make_id(1, e.seq, e.created_at, e.node) AS event_id,
           e.seq, e.type, e.session, e.created_at, s.name AS subscription, x.status,
           CASE WHEN x.status = 'dead' THEN d.attempts
                WHEN x.status = 'completed'
                    THEN coalesce((reflex_internal.last_failure(s.id, e.seq)).attempt, 0) + 1
                ELSE coalesce(st.attempt, 0) END AS attempts,
           CASE WHEN x.status = 'dead' THEN d.error
                WHEN x.status <> 'pending' THEN (reflex_internal.last_failure(s.id, e.seq)).error END AS last_error,
           st.due AS next_attempt_at,
           CASE WHEN x.status = 'completed' THEN reflex_internal.settled_at(s.id, e.seq) END AS processed_at
    FROM reflex_internal.event e
    JOIN reflex_internal.subscription s
        ON s.log = 0 AND (s.retry_only OR (reflex_internal.type_matches(e.type, s.types)
            AND reflex_internal.starts_before(s.start_position, s.start_holes, e.seq)))
    CROSS JOIN LATERAL reflex_internal.delivery_state(s.id, e.seq) st
    LEFT JOIN reflex_internal.dead_letter d ON d.subscription = s.id AND d.seq = e.seq AND d.retried_at IS NULL
    CROSS JOIN LATERAL (SELECT CASE WHEN d.id IS NULL OR st.leased OR st.status = 'pending'
                                     THEN st.status ELSE 'dead' END AS status) x
    WHERE x.status IS NOT NULL;
COMMENT ON VIEW reflex.deliveries IS
'Each event in each subscription that wants it, with what has become of it there. status: pending, processing (out with a consumer), retrying, '
'completed, dead; what was put back from the dead letters is retrying with 0 attempts. attempts, last_error, processed_at: as long as the journal of deliveries has the record. Of a rule ("rule:<name>") '
'only what has failed and is not done. Restrict it by seq, or ask deliveries_of() for one event: reading all of it reads all of the log.';

CREATE OR REPLACE FUNCTION reflex.deliveries_of(event_id uuid) RETURNS SETOF reflex.deliveries
LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.* FROM reflex.deliveries d
    WHERE d.seq = (SELECT i.seq FROM reflex_internal.id_parts(deliveries_of.event_id) i WHERE i.kind = 1)
      AND d.event_id = deliveries_of.event_id
    ORDER BY d.subscription
$$;
COMMENT ON FUNCTION reflex.deliveries_of(uuid) IS
'What has become of one event in each subscription, as in the view deliveries, found by its id. No row when there is no such event.';
REVOKE ALL ON FUNCTION reflex.deliveries_of(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.stats(
    OUT published bigint, OUT emitted bigint, OUT delivered bigint, OUT acked bigint,
    OUT failed bigint, OUT expired bigint, OUT dead bigint, OUT since timestamptz)
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_stats';
REVOKE ALL ON FUNCTION reflex_internal.stats() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex_internal.stats() TO reflex_admin, reflex_monitor;

CREATE OR REPLACE VIEW reflex.stats AS
    SELECT s.published, s.emitted, s.delivered, s.acked, s.failed, s.expired, s.dead, s.since
    FROM reflex_internal.stats() s;
COMMENT ON VIEW reflex.stats IS
'Counts of this database since the server started (since): events published and effects emitted by transactions that committed, '
'then, over all subscriptions and both logs: handed out, acked, attempts that failed, leases that lapsed, dead letters.';

-- The functions in a view are called as whoever reads it.
GRANT EXECUTE ON FUNCTION
    reflex_internal.delivery_state(integer, bigint),
    reflex_internal.settled_at(integer, bigint),
    reflex_internal.last_failure(integer, bigint),
    reflex_internal.starts_before(bigint, bigint[], bigint),
    reflex_internal.type_matches(text, text[]),
    reflex_internal.make_id(integer, bigint, timestamptz, integer)
TO reflex_admin, reflex_monitor;
