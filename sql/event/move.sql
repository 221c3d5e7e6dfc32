-- Pausing subscriptions and moving them along the log.

CREATE OR REPLACE FUNCTION reflex_internal.set_paused(p_name text, p_paused boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_subscription(p_name, NULL, NULL, NULL, NULL);
    UPDATE reflex_internal.subscription s SET paused = p_paused WHERE s.name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription "%" does not exist', p_name USING ERRCODE = 'PT404';
    END IF;
    PERFORM reflex_internal.subscriptions_changed();
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.set_paused(text, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.pause(subscription text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.set_paused(pause.subscription, true) $$;
COMMENT ON FUNCTION reflex.pause(text) IS
'Hands out nothing of a subscription until resume(). What is out can be settled. Errors: PT404 no such subscription.';
REVOKE ALL ON FUNCTION reflex.pause(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.resume(subscription text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.set_paused(resume.subscription, false) $$;
COMMENT ON FUNCTION reflex.resume(text) IS
'Ends pause(). Errors: PT404 no such subscription.';
REVOKE ALL ON FUNCTION reflex.resume(text) FROM PUBLIC;

-- Lets a subscription begin anew at a position, under a new id: everything that
-- is known of the old one (leases, retries, what was settled) ends with that.
CREATE OR REPLACE FUNCTION reflex_internal.restart_at(p_name text, p_position bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_old integer;
    v_new integer := nextval('reflex_internal.subscription_id_seq');
BEGIN
    PERFORM reflex_internal.check_subscription(p_name, NULL, NULL, NULL, NULL);
    SELECT s.id INTO v_old FROM reflex_internal.subscription s WHERE s.name = p_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription "%" does not exist', p_name USING ERRCODE = 'PT404';
    END IF;
    UPDATE reflex_internal.subscription s SET id = v_new, start_position = p_position, start_holes = NULL
        WHERE s.id = v_old;
    UPDATE reflex_internal.dead_letter d SET subscription = v_new WHERE d.subscription = v_old;
    PERFORM reflex_internal.subscriptions_changed();
    PERFORM reflex_internal.subscription_dropped(v_old);
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.restart_at(text, bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.event_position_of(p_event_id uuid) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id record := reflex_internal.id_parts(p_event_id);
BEGIN
    IF v_id.kind IS DISTINCT FROM 1
        OR NOT EXISTS (SELECT FROM reflex.events e WHERE e.seq = v_id.seq AND e.event_id = p_event_id) THEN
        RAISE EXCEPTION 'event % does not exist', p_event_id USING ERRCODE = 'PT404';
    END IF;
    RETURN v_id.seq;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.event_position_of(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.rewind(subscription text, since timestamptz) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.restart_at(rewind.subscription, reflex_internal.event_seq_at(rewind.since)) $$;
COMMENT ON FUNCTION reflex.rewind(text, timestamptz) IS
'Delivers everything published since a time again, settled or not, when this commits. Leases that are out and retries that wait end; dead letters stay. '
'Errors: PT404 no such subscription.';
REVOKE ALL ON FUNCTION reflex.rewind(text, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.rewind(subscription text, event_id uuid) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.restart_at(rewind.subscription, reflex_internal.event_position_of(rewind.event_id)) $$;
COMMENT ON FUNCTION reflex.rewind(text, uuid) IS
'Delivers an event and everything after it in the log again, as rewind(subscription, since). Errors: PT404 no such subscription or event.';
REVOKE ALL ON FUNCTION reflex.rewind(text, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.skip_to(subscription text, since timestamptz) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.restart_at(skip_to.subscription, reflex_internal.event_seq_at(skip_to.since)) $$;
COMMENT ON FUNCTION reflex.skip_to(text, timestamptz) IS
'Goes on with what was published since a time and never delivers what is before it, retries that wait included, when this commits. '
'Errors: PT404 no such subscription.';
REVOKE ALL ON FUNCTION reflex.skip_to(text, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.skip_to(subscription text, event_id uuid) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.restart_at(skip_to.subscription, reflex_internal.event_position_of(skip_to.event_id)) $$;
COMMENT ON FUNCTION reflex.skip_to(text, uuid) IS
'Goes on with an event and what comes after it in the log, as skip_to(subscription, since). Errors: PT404 no such subscription or event.';
REVOKE ALL ON FUNCTION reflex.skip_to(text, uuid) FROM PUBLIC;

-- An event's id or a time, as text: what a literal in a query is taken for.
CREATE OR REPLACE FUNCTION reflex_internal.position_of(p_since text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_since ~ '^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$' THEN
        RETURN reflex_internal.event_position_of(p_since::uuid);
    END IF;
    RETURN reflex_internal.event_seq_at(p_since::timestamptz);
EXCEPTION
    WHEN invalid_datetime_format OR datetime_field_overflow THEN
        RAISE EXCEPTION 'invalid since: "%"', p_since USING ERRCODE = 'PT422',
            HINT = 'Use a timestamp or the id of an event.';
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.position_of(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.rewind(subscription text, since text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.restart_at(rewind.subscription, reflex_internal.position_of(rewind.since)) $$;
COMMENT ON FUNCTION reflex.rewind(text, text) IS
'The same with a time or the id of an event as text. Errors: PT404 no such subscription or event, PT422 neither.';
REVOKE ALL ON FUNCTION reflex.rewind(text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.skip_to(subscription text, since text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT reflex_internal.restart_at(skip_to.subscription, reflex_internal.position_of(skip_to.since)) $$;
COMMENT ON FUNCTION reflex.skip_to(text, text) IS
'The same with a time or the id of an event as text. Errors: PT404 no such subscription or event, PT422 neither.';
REVOKE ALL ON FUNCTION reflex.skip_to(text, text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    reflex.rewind(text, text), reflex.skip_to(text, text),
    reflex.pause(text), reflex.resume(text),
    reflex.rewind(text, timestamptz), reflex.rewind(text, uuid),
    reflex.skip_to(text, timestamptz), reflex.skip_to(text, uuid)
TO reflex_admin;
