-- Dead letters, as people work them.

CREATE OR REPLACE FUNCTION reflex_internal.requeue(p_subscription integer, p_seq bigint) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_requeue';
REVOKE ALL ON FUNCTION reflex_internal.requeue(integer, bigint) FROM PUBLIC;

CREATE OR REPLACE VIEW reflex.dead_letters AS
    SELECT d.id, d.subscription_name AS subscription, d.event_id, d.type, d.source, d.session, d.payload, d.meta,
           d.attempts, d.error, d.errors, d.role, d.created_at, d.dead_at
    FROM reflex_internal.dead_letter d
    WHERE d.retried_at IS NULL;
COMMENT ON VIEW reflex.dead_letters IS
'What no retry has helped: a copy of each event or effect with every failed attempt (errors). Worked with dlq_retry() and dlq_purge().';

CREATE OR REPLACE FUNCTION reflex.dlq_list(
    subscription text DEFAULT NULL,
    before bigint DEFAULT NULL,
    max integer DEFAULT 100)
RETURNS SETOF reflex.dead_letters
LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.* FROM reflex.dead_letters d
    WHERE (dlq_list.subscription IS NULL OR d.subscription = dlq_list.subscription)
      AND (dlq_list.before IS NULL OR d.id < dlq_list.before)
    ORDER BY d.id DESC
    LIMIT dlq_list.max
$$;
COMMENT ON FUNCTION reflex.dlq_list(text, bigint, integer) IS
'Lists dead letters, newest first. subscription: only its own ("reflex.effects" for effects, "rule:<name>" for a rule). '
'before: only those with a smaller number (id), for paging backwards. errors: every failed attempt with its time.';
REVOKE ALL ON FUNCTION reflex.dlq_list(text, bigint, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.dlq_retry(event_id uuid, subscription text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_letter record;
    v_count integer := 0;
BEGIN
    FOR v_letter IN
        UPDATE reflex_internal.dead_letter d SET retried_at = clock_timestamp()
        WHERE d.event_id = dlq_retry.event_id AND d.retried_at IS NULL
          AND (dlq_retry.subscription IS NULL OR d.subscription_name = dlq_retry.subscription)
        RETURNING d.subscription, d.subscription_name, d.seq
    LOOP
        IF NOT reflex_internal.requeue(v_letter.subscription, v_letter.seq) THEN
            RAISE EXCEPTION 'subscription "%" of this dead letter does not exist any more', v_letter.subscription_name
                USING ERRCODE = 'PT409', HINT = 'Remove it with dlq_purge().';
        END IF;
        v_count := v_count + 1;
    END LOOP;
    IF v_count = 0 THEN
        RAISE EXCEPTION 'there is no dead letter of event %', dlq_retry.event_id USING ERRCODE = 'PT404',
            HINT = 'See dlq_list().';
    END IF;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION reflex.dlq_retry(uuid, text) IS
'Puts the dead letters of an event (or effect) back into their subscriptions, with all attempts before them again; returns how many. '
'Errors: PT404 there is none, PT409 the subscription is gone.';
REVOKE ALL ON FUNCTION reflex.dlq_retry(uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.dlq_purge(subscription text DEFAULT NULL, event_id uuid DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_count integer;
BEGIN
    DELETE FROM reflex_internal.dead_letter d
    WHERE d.retried_at IS NULL
      AND (dlq_purge.subscription IS NULL OR d.subscription_name = dlq_purge.subscription)
      AND (dlq_purge.event_id IS NULL OR d.event_id = dlq_purge.event_id);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION reflex.dlq_purge(text, uuid) IS
'Deletes dead letters: of a subscription, of an event, of both, or (without arguments) all; returns how many.';
REVOKE ALL ON FUNCTION reflex.dlq_purge(text, uuid) FROM PUBLIC;
