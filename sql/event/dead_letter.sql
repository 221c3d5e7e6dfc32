-- Dead letters, as people work them.

CREATE OR REPLACE FUNCTION reflex_internal.requeue(p_subscription integer, p_seq bigint, p_delay_us bigint)
RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_requeue';
REVOKE ALL ON FUNCTION reflex_internal.requeue(integer, bigint, bigint) FROM PUBLIC;

CREATE OR REPLACE VIEW reflex.dead_letters AS
    SELECT d.id, d.subscription_name AS subscription, d.event_id, d.type, d.source, d.session, d.payload, d.meta,
           d.attempts, d.error, d.errors, d.role, d.created_at, d.dead_at,
           d.edited_payload, d.retried_at, d.retried_by
    FROM reflex_internal.dead_letter d
    WHERE d.retried_at IS NULL;
COMMENT ON VIEW reflex.dead_letters IS
'What no retry has helped: a copy of each event or effect with every failed attempt (errors). edited_payload: what an earlier dlq_retry() '
'had delivered in place of payload. Worked with dlq_retry(), dlq_retry_all() and dlq_purge(); dlq_show() has those that were put back, too.';

-- The part of the filters that no index helps with.
CREATE OR REPLACE FUNCTION reflex_internal.letter_matches(
    p_letter reflex_internal.dead_letter, p_type text, p_error text, p_since timestamptz, p_until timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (p_type IS NULL OR reflex_internal.type_matches(p_letter.type, ARRAY[p_type]))
       AND (p_error IS NULL OR p_letter.error ~ p_error)
       AND (p_since IS NULL OR p_letter.dead_at >= p_since)
       AND (p_until IS NULL OR p_letter.dead_at < p_until)
$$;
REVOKE ALL ON FUNCTION reflex_internal.letter_matches(reflex_internal.dead_letter, text, text, timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.dlq_list(
    subscription text DEFAULT NULL,
    before bigint DEFAULT NULL,
    max integer DEFAULT 100,
    type text DEFAULT NULL,
    error text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL)
RETURNS SETOF reflex.dead_letters
LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.id, d.subscription_name, d.event_id, d.type, d.source, d.session, d.payload, d.meta,
           d.attempts, d.error, d.errors, d.role, d.created_at, d.dead_at,
           d.edited_payload, d.retried_at, d.retried_by
    FROM reflex_internal.dead_letter d
    WHERE d.retried_at IS NULL
      AND (dlq_list.subscription IS NULL OR d.subscription_name = dlq_list.subscription)
      AND (dlq_list.before IS NULL OR d.id < dlq_list.before)
      AND reflex_internal.letter_matches(d, dlq_list.type, dlq_list.error, dlq_list.since, dlq_list.until)
    ORDER BY d.id DESC
    LIMIT dlq_list.max
$$;
COMMENT ON FUNCTION reflex.dlq_list(text, bigint, integer, text, text, timestamptz, timestamptz) IS
'Lists dead letters, newest first. subscription: only its own ("reflex.effects" for effects, "rule:<name>" for a rule). '
'before: only those with a smaller number (id), for paging backwards. type: exact or with a trailing ".*". '
'error: a regular expression on the last error. since, until: became dead letters in [since, until). errors: every failed attempt with its time. '
'Errors: 2201B invalid regular expression.';
REVOKE ALL ON FUNCTION reflex.dlq_list(text, bigint, integer, text, text, timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.dlq_show(event_id uuid, subscription text DEFAULT NULL)
RETURNS SETOF reflex.dead_letters
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER ROWS 2
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.id, d.subscription_name, d.event_id, d.type, d.source, d.session, d.payload, d.meta,
           d.attempts, d.error, d.errors, d.role, d.created_at, d.dead_at,
           d.edited_payload, d.retried_at, d.retried_by
    FROM reflex_internal.dead_letter d
    WHERE d.event_id = dlq_show.event_id
      AND (dlq_show.subscription IS NULL OR d.subscription_name = dlq_show.subscription)
    ORDER BY d.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no dead letter of event %', dlq_show.event_id USING ERRCODE = 'PT404',
            HINT = 'See dlq_list().';
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.dlq_show(uuid, text) IS
'Everything on record about the dead letters of an event or effect, oldest first: those that were put back, too (retried_at, retried_by, '
'edited_payload: what was delivered in place of payload). Errors: PT404 there is none.';
REVOKE ALL ON FUNCTION reflex.dlq_show(uuid, text) FROM PUBLIC;

-- Puts one back; false when its subscription is gone.
CREATE OR REPLACE FUNCTION reflex_internal.letter_retry(p_id bigint, p_payload jsonb, p_delay_us bigint) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE reflex_internal.dead_letter d
        SET retried_at = clock_timestamp(), retried_by = reflex_internal.caller(),
            edited_payload = coalesce(p_payload, d.edited_payload)
        WHERE d.id = p_id
    RETURNING reflex_internal.requeue(d.subscription, d.seq, p_delay_us)
$$;
REVOKE ALL ON FUNCTION reflex_internal.letter_retry(bigint, jsonb, bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.dlq_retry(event_id uuid, subscription text DEFAULT NULL, payload jsonb DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_letter record;
    v_count integer := 0;
BEGIN
    FOR v_letter IN
        SELECT d.id, d.subscription_name FROM reflex_internal.dead_letter d
        WHERE d.event_id = dlq_retry.event_id AND d.retried_at IS NULL
          AND (dlq_retry.subscription IS NULL OR d.subscription_name = dlq_retry.subscription)
        ORDER BY d.id FOR UPDATE
    LOOP
        IF NOT reflex_internal.letter_retry(v_letter.id, dlq_retry.payload, 0) THEN
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
COMMENT ON FUNCTION reflex.dlq_retry(uuid, text, jsonb) IS
'Puts the dead letters of an event (or effect) back into their subscriptions, with all attempts before them again; returns how many. '
'payload: delivered from now on in place of the one that was published, which is kept beside it; null: what was delivered last. '
'Errors: PT404 there is none, PT409 the subscription is gone.';
REVOKE ALL ON FUNCTION reflex.dlq_retry(uuid, text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.dlq_retry_all(
    subscription text DEFAULT NULL,
    type text DEFAULT NULL,
    error text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    max integer DEFAULT NULL,
    per_second numeric DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_gap_us numeric := 0;
    v_count integer := 0;
    v_id bigint;
BEGIN
    IF dlq_retry_all.per_second <= 0 THEN
        RAISE EXCEPTION 'per_second must be positive' USING ERRCODE = 'PT422',
            DETAIL = format('It is %s.', dlq_retry_all.per_second);
    END IF;
    IF dlq_retry_all.per_second IS NOT NULL THEN
        v_gap_us := 1000000 / dlq_retry_all.per_second;
    END IF;
    FOR v_id IN
        SELECT d.id FROM reflex_internal.dead_letter d
        WHERE d.retried_at IS NULL
          AND (dlq_retry_all.subscription IS NULL OR d.subscription_name = dlq_retry_all.subscription)
          AND EXISTS (SELECT FROM reflex_internal.subscription s WHERE s.id = d.subscription)
          AND reflex_internal.letter_matches(d, dlq_retry_all.type, dlq_retry_all.error,
                                             dlq_retry_all.since, dlq_retry_all.until)
        ORDER BY d.id LIMIT dlq_retry_all.max
        FOR UPDATE OF d SKIP LOCKED
    LOOP
        IF reflex_internal.letter_retry(v_id, NULL, (v_count * v_gap_us)::bigint) THEN
            v_count := v_count + 1;
        END IF;
    END LOOP;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION reflex.dlq_retry_all(text, text, text, timestamptz, timestamptz, integer, numeric) IS
'Puts dead letters back as dlq_retry() does, oldest first, those that dlq_list() would show with the same filters; returns how many. '
'max: no more than so many. per_second: they become due one after the other at this rate, from now on, also over a restart; null: all at once. '
'Those whose subscription is gone stay. Errors: PT422 per_second is not positive, 2201B invalid regular expression, '
'53200 more than shared memory has room for (use max).';
REVOKE ALL ON FUNCTION reflex.dlq_retry_all(text, text, text, timestamptz, timestamptz, integer, numeric) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.dlq_purge(
    subscription text DEFAULT NULL,
    event_id uuid DEFAULT NULL,
    type text DEFAULT NULL,
    error text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL)
RETURNS integer
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
      AND (dlq_purge.event_id IS NULL OR d.event_id = dlq_purge.event_id)
      AND reflex_internal.letter_matches(d, dlq_purge.type, dlq_purge.error, dlq_purge.since, dlq_purge.until);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION reflex.dlq_purge(text, uuid, text, text, timestamptz, timestamptz) IS
'Deletes dead letters: of a subscription, of an event, those that dlq_list() would show with the same filters, or (without arguments) all; '
'returns how many. What was put back is not touched. Errors: 2201B invalid regular expression.';
REVOKE ALL ON FUNCTION reflex.dlq_purge(text, uuid, text, text, timestamptz, timestamptz) FROM PUBLIC;
