-- Subscriptions.

CREATE OR REPLACE FUNCTION reflex_internal.subscriptions_changed() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_subscriptions_changed';
REVOKE ALL ON FUNCTION reflex_internal.subscriptions_changed() FROM PUBLIC;

-- Drops the shared state of a new subscription if this transaction, or savepoint, is undone.
CREATE OR REPLACE FUNCTION reflex_internal.subscription_created(p_id integer) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_subscription_created';
REVOKE ALL ON FUNCTION reflex_internal.subscription_created(integer) FROM PUBLIC;

-- Drops the shared state of a subscription when this transaction commits.
CREATE OR REPLACE FUNCTION reflex_internal.subscription_dropped(p_id integer) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_subscription_dropped';
REVOKE ALL ON FUNCTION reflex_internal.subscription_dropped(integer) FROM PUBLIC;

-- Makes a subscription that reads what commits from now on: what running
-- transactions hold below the next position is read when they have committed.
CREATE OR REPLACE FUNCTION reflex_internal.subscription_create(p_name text, p_log integer, p_retry_only boolean)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id integer;
BEGIN
    INSERT INTO reflex_internal.subscription (name, log, retry_only, start_position, start_holes)
    SELECT p_name, p_log, p_retry_only, p.next, p.held
        FROM reflex_internal.log_position(p_log::smallint) p
    RETURNING id INTO v_id;
    PERFORM reflex_internal.subscriptions_changed();
    PERFORM reflex_internal.subscription_created(v_id);
    RETURN v_id;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.subscription_create(text, integer, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.subscription_drop(p_name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id integer;
BEGIN
    DELETE FROM reflex_internal.subscription s WHERE s.name = p_name RETURNING s.id INTO v_id;
    IF v_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM reflex_internal.subscriptions_changed();
    PERFORM reflex_internal.subscription_dropped(v_id);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.subscription_drop(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.check_subscription(
    p_name text, p_types text[], p_max_attempts integer, p_base interval, p_max interval)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_name IS NULL OR p_name = '' OR length(p_name) > 255 THEN
        RAISE EXCEPTION 'subscription name must have 1 to 255 characters' USING ERRCODE = 'PT422';
    END IF;
    IF p_name LIKE 'reflex.%' OR p_name LIKE 'rule:%' THEN
        RAISE EXCEPTION 'subscription name "%" is reserved', p_name USING ERRCODE = 'PT403',
            DETAIL = 'Names that begin with "reflex." or "rule:" belong to reflex.',
            HINT = 'Choose another name.';
    END IF;
    IF EXISTS (SELECT FROM unnest(p_types) t WHERE t IS NULL OR t = '') THEN
        RAISE EXCEPTION 'types must not contain nulls or empty strings' USING ERRCODE = 'PT422';
    END IF;
    IF p_max_attempts NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'max_attempts must be between 1 and 1000' USING ERRCODE = 'PT422',
            DETAIL = format('It is %s.', p_max_attempts);
    END IF;
    IF p_base < interval '0' OR p_max < interval '0' THEN
        RAISE EXCEPTION 'retry delays must not be negative' USING ERRCODE = 'PT422';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_subscription(text, text[], integer, interval, interval) FROM PUBLIC;

-- Where a subscription begins: a position, and the bounds of what is held below it.
CREATE OR REPLACE FUNCTION reflex_internal.start_of(p_start_at text, OUT start_position bigint, OUT start_holes bigint[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_start_at = 'now' THEN
        SELECT p.next, p.held INTO start_position, start_holes FROM reflex_internal.log_position(0::smallint) p;
    ELSIF p_start_at = 'beginning' THEN
        start_position := 0;
    ELSE
        start_position := reflex_internal.event_seq_at(p_start_at::timestamptz);
    END IF;
EXCEPTION
    WHEN invalid_datetime_format OR datetime_field_overflow THEN
        RAISE EXCEPTION 'invalid start_at: "%"', p_start_at USING ERRCODE = 'PT422',
            HINT = 'Use ''now'', ''beginning'' or a timestamp.';
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.start_of(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.subscribe(
    subscription text,
    types text[] DEFAULT NULL,
    filter jsonb DEFAULT NULL,
    ordered boolean DEFAULT false,
    start_at text DEFAULT 'now',
    max_attempts integer DEFAULT NULL,
    retry_base_delay interval DEFAULT NULL,
    retry_max_delay interval DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_new integer;
BEGIN
    PERFORM reflex_internal.check_subscription(subscribe.subscription, subscribe.types,
        subscribe.max_attempts, subscribe.retry_base_delay, subscribe.retry_max_delay);
    PERFORM reflex_internal.filter_check(subscribe.filter);

    LOOP
        IF EXISTS (SELECT FROM reflex_internal.subscription s
                   WHERE s.name = subscribe.subscription AND s.ordered <> subscribe.ordered) THEN
            RAISE EXCEPTION 'subscription "%" is %ordered', subscribe.subscription,
                    CASE WHEN subscribe.ordered THEN 'not ' ELSE '' END
                USING ERRCODE = 'PT409', DETAIL = 'This can''t be changed while it exists.',
                HINT = 'Unsubscribe, and subscribe anew with start_at.';
        END IF;
        UPDATE reflex_internal.subscription s
            SET types = subscribe.types, filter = subscribe.filter, max_attempts = subscribe.max_attempts,
                retry_base_delay = subscribe.retry_base_delay, retry_max_delay = subscribe.retry_max_delay
            WHERE s.name = subscribe.subscription;
        EXIT WHEN FOUND;
        -- Another transaction may be making it just now: then that one's is changed.
        INSERT INTO reflex_internal.subscription
            (name, types, filter, ordered, start_position, start_holes, max_attempts, retry_base_delay, retry_max_delay)
        SELECT subscribe.subscription, subscribe.types, subscribe.filter, subscribe.ordered, s.start_position, s.start_holes,
               subscribe.max_attempts, subscribe.retry_base_delay, subscribe.retry_max_delay
            FROM reflex_internal.start_of(coalesce(subscribe.start_at, 'now')) s
        ON CONFLICT (name) DO NOTHING
        RETURNING id INTO v_new;
        EXIT WHEN FOUND;
    END LOOP;
    PERFORM reflex_internal.subscriptions_changed();
    PERFORM reflex_internal.subscription_created(v_new);     -- null, and nothing, if it was there
END
$$;
COMMENT ON FUNCTION reflex.subscribe(text, text[], jsonb, boolean, text, integer, interval, interval) IS
'Creates a subscription to the event log, or changes the settings of one that exists and keeps its position. '
'types: event types it wants, exact or with a trailing ".*"; null for all. '
'filter: which of these it wants, as in test_filter; null for all. '
'ordered: of each session at most one event is out at a time, in order of position, and while one waits for its retry its session waits; '
'others go on; can''t be changed later. '
'start_at: "now" (all that commits from here on), "beginning", or a timestamp. '
'max_attempts, retry_base_delay, retry_max_delay: null for reflex.event_max_attempts, .event_retry_base_delay, .event_retry_max_delay. '
'Errors: PT422 invalid argument, PT403 reserved name, PT409 ordered would change, 0A000 some filters are not yet supported.';
REVOKE ALL ON FUNCTION reflex.subscribe(text, text[], jsonb, boolean, text, integer, interval, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.unsubscribe(subscription text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_subscription(unsubscribe.subscription, NULL, NULL, NULL, NULL);
    IF NOT reflex_internal.subscription_drop(unsubscribe.subscription) THEN
        RAISE EXCEPTION 'subscription "%" does not exist', unsubscribe.subscription USING ERRCODE = 'PT404';
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.unsubscribe(text) IS
'Ends a subscription: its position, its leases and its waiting retries are gone when this commits; its dead letters stay. '
'Errors: PT404 no such subscription.';
REVOKE ALL ON FUNCTION reflex.unsubscribe(text) FROM PUBLIC;
