-- The database reads its own log: every new error becomes an event.

CREATE SCHEMA demo;

-- How far the log has been read.  It moves in the transaction that publishes,
-- so that each line becomes one event, whatever happens in between.
CREATE TABLE demo.log_position (file text PRIMARY KEY, byte bigint NOT NULL);

-- Errors of clients only: were reflex to report its own failures in this way,
-- a failing report would report itself for ever.
CREATE FUNCTION demo.watch_log() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_file text := pg_current_logfile('jsonlog');
    v_from bigint;
    v_new bytea;
    v_bytes text;
    v_count int;
BEGIN
    INSERT INTO demo.log_position VALUES (v_file, 0) ON CONFLICT DO NOTHING;
    SELECT byte INTO v_from FROM demo.log_position WHERE file = v_file FOR UPDATE;
    v_new := pg_read_binary_file(v_file, v_from, 1024 * 1024);
    -- Up to the last newline: the line after it may not be whole yet.  LATIN1
    -- makes one character of each byte.
    v_bytes := convert_from(v_new, 'LATIN1');
    v_new := substring(v_new FOR CASE strpos(v_bytes, E'\n') WHEN 0 THEN 0
        ELSE length(v_bytes) + 1 - strpos(reverse(v_bytes), E'\n') END);
    PERFORM reflex.publish('postgres.error',
        jsonb_strip_nulls(jsonb_build_object(
            'sqlstate', l.line ->> 'state_code', 'message', l.line ->> 'message',
            'detail', l.line ->> 'detail', 'hint', l.line ->> 'hint',
            'statement', l.line ->> 'statement', 'at', l.line ->> 'timestamp')),
        source => 'postgresql log')
    FROM (SELECT line::jsonb AS line
          FROM string_to_table(convert_from(v_new, 'UTF8'), E'\n') AS line WHERE line <> '') AS l
    WHERE l.line ->> 'error_severity' IN ('ERROR', 'FATAL', 'PANIC')
      AND l.line ->> 'backend_type' = 'client backend'
      AND l.line ->> 'application_name' = 'shop';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    UPDATE demo.log_position SET byte = v_from + length(v_new) WHERE file = v_file;
    RETURN v_count;
END
$$;
REVOKE ALL ON FUNCTION demo.watch_log() FROM PUBLIC;
