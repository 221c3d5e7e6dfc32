-- Names of sessions that are made of a user, an agent and a thread.
--
-- user:agent:thread, with "%" written as "%25" and ":" as "%3A" within a part.
-- A null part is left empty, so an empty one is written as a lone "%", which no
-- other part is.

CREATE OR REPLACE FUNCTION reflex.session_key(user_id text, agent_id text, thread_id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE p.part WHEN '' THEN '%'
                      ELSE coalesce(replace(replace(p.part, '%', '%25'), ':', '%3A'), '') END, ':' ORDER BY p.n)
    FROM unnest(ARRAY[session_key.user_id, session_key.agent_id, session_key.thread_id])
        WITH ORDINALITY AS p (part, n)
$$;
COMMENT ON FUNCTION reflex.session_key(text, text, text) IS
'The session of a user''s thread with an agent: "user:agent:thread", with "%" and ":" in a part written as "%25" and "%3A", '
'nothing for a null and "%" for an empty part. session_parts takes it apart again. '
'Publishing takes sessions of up to 255 bytes.';
REVOKE ALL ON FUNCTION reflex.session_key(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.session_key(text, text, text) TO reflex_app, reflex_monitor, reflex_admin;

CREATE OR REPLACE FUNCTION reflex.session_parts(
    session text, OUT user_id text, OUT agent_id text, OUT thread_id text)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_part CONSTANT text := '(([^%:]|%25|%3A)*|%)';
    v_parts text[] := string_to_array(session_parts.session, ':');
BEGIN
    IF session_parts.session !~ format('^%1$s:%1$s:%1$s$', v_part) THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = format('session "%s" was not made by session_key', session_parts.session),
            HINT = 'It has three parts separated by ":", in which "%" stands only in "%25" and "%3A", or alone.';
    END IF;
    v_parts := ARRAY(
        SELECT CASE p.part WHEN '' THEN NULL WHEN '%' THEN ''
               ELSE replace(replace(p.part, '%3A', ':'), '%25', '%') END
        FROM unnest(v_parts) WITH ORDINALITY AS p (part, n) ORDER BY p.n);
    user_id := v_parts[1];
    agent_id := v_parts[2];
    thread_id := v_parts[3];
END
$$;
COMMENT ON FUNCTION reflex.session_parts(text) IS
'What session_key was called with. '
'Errors: PT422 the session was not made by session_key.';
REVOKE ALL ON FUNCTION reflex.session_parts(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.session_parts(text) TO reflex_app, reflex_monitor, reflex_admin;
