-- Events that are due later.

CREATE OR REPLACE FUNCTION reflex_internal.delayed_lock() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_delayed_lock';
REVOKE ALL ON FUNCTION reflex_internal.delayed_lock() FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.cancel_delayed(event_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id record;
    v_due timestamptz;
BEGIN
    v_id := reflex_internal.id_parts(cancel_delayed.event_id);
    IF v_id.kind = 2 THEN
        PERFORM reflex_internal.delayed_lock();
        SELECT d.due INTO v_due FROM reflex_internal.delayed d WHERE d.no = v_id.seq;
    END IF;
    IF v_due IS NULL THEN
        RAISE EXCEPTION 'there is no delayed event %', cancel_delayed.event_id USING ERRCODE = 'PT404',
            DETAIL = 'It was never delayed, or was delivered long ago.';
    END IF;
    IF EXISTS (SELECT FROM reflex_internal.delayed_done x WHERE x.due = v_due AND x.no = v_id.seq) THEN
        RETURN false;
    END IF;
    INSERT INTO reflex_internal.delayed_done (due, no) VALUES (v_due, v_id.seq);
    RETURN true;
END
$$;
COMMENT ON FUNCTION reflex.cancel_delayed(uuid) IS
'Cancels an event that was published with deliver_at and is not due yet, when this transaction commits (until then no delayed event is delivered). '
'False when it was delivered or cancelled before. event_id: what publish() returned. Errors: PT404 there is no such delayed event.';
REVOKE ALL ON FUNCTION reflex.cancel_delayed(uuid) FROM PUBLIC;
