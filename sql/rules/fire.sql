-- Firing: what src/rules/rules.c asks of SQL.
--
-- These run as the owner of the extension, inside the subtransaction of one
-- firing.  A handler function is not called here: C calls it as the owner of
-- the rule.

-- The rules as the worker wants them: what to call ready to be run, and the
-- owner as an oid (null when the role is gone).  In PL/pgSQL, which keeps its
-- plans: a function in SQL that can't be inlined is planned at every call.
CREATE OR REPLACE FUNCTION reflex_internal.enabled_rules()
RETURNS TABLE (name text, owner text, owner_oid oid, since_seq bigint, since_held bigint[],
    types text[], action jsonb, call text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.name, r.owner::text, o.oid, r.since_seq, r.since_held,
           CASE WHEN r.filter ? 'type' THEN ARRAY(SELECT jsonb_array_elements_text(r.filter -> 'type')) END,
           r.action,
           CASE WHEN r.action ? 'function' THEN
               (SELECT format('SELECT %I.%I($1)', f.parts[1], f.parts[2])
                FROM parse_ident(r.action ->> 'function') AS f (parts)) END
    FROM reflex_internal.rule AS r LEFT JOIN pg_roles AS o ON o.rolname = r.owner
    WHERE r.enabled ORDER BY r.name;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.enabled_rules() FROM PUBLIC;

-- What a handler gets, and what templates are filled from.
CREATE OR REPLACE FUNCTION reflex_internal.rule_event(
    p_id uuid, p_type text, p_source text, p_session text, p_payload jsonb, p_meta jsonb,
    p_created_at timestamptz, p_seq bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN jsonb_build_object('id', p_id, 'type', p_type, 'source', p_source, 'session', p_session,
        'payload', p_payload, 'meta', p_meta, 'created_at', p_created_at, 'seq', p_seq);
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.rule_event(uuid, text, text, text, jsonb, jsonb, timestamptz, bigint) FROM PUBLIC;

-- The template with each {"$": path} replaced by what the path finds first in
-- the event, null when it finds nothing.
CREATE OR REPLACE FUNCTION reflex_internal.fill(p_template jsonb, p_event jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE jsonb_typeof(p_template)
        WHEN 'object' THEN CASE WHEN p_template ? '$'
            THEN coalesce(jsonb_path_query_first(p_event, (p_template ->> '$')::jsonpath, silent => true), 'null')
            ELSE coalesce((SELECT jsonb_object_agg(t.key, reflex_internal.fill(t.value, p_event))
                           FROM jsonb_each(p_template) AS t), '{}') END
        WHEN 'array' THEN coalesce((SELECT jsonb_agg(reflex_internal.fill(t.value, p_event) ORDER BY t.n)
                                    FROM jsonb_array_elements(p_template) WITH ORDINALITY AS t (value, n)), '[]')
        ELSE p_template END;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.fill(jsonb, jsonb) FROM PUBLIC;

-- Carries out an action that is not a function.  A run belongs to the event's
-- session; an effect and a published event only when the action says so,
-- because they wait for their turn in it.
CREATE OR REPLACE FUNCTION reflex_internal.rule_fire(p_action jsonb, p_event jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_arguments jsonb := reflex_internal.fill(p_action, p_event);
    v_session text := v_arguments ->> 'session';
BEGIN
    CASE
        WHEN p_action ? 'agent' THEN
            PERFORM reflex.run_agent(p_action ->> 'agent', coalesce(v_arguments -> 'input', p_event),
                CASE WHEN p_action ? 'session' THEN v_session ELSE p_event ->> 'session' END);
        WHEN p_action ? 'effect' THEN
            PERFORM reflex.emit(p_action ->> 'effect', coalesce(v_arguments -> 'payload', p_event), v_session);
        WHEN p_action ? 'publish' THEN
            PERFORM reflex.publish(p_action ->> 'publish', coalesce(v_arguments -> 'payload', p_event),
                session => v_session);
        WHEN p_action ? 'notify' THEN
            PERFORM reflex.notify(p_action ->> 'notify', title => v_arguments ->> 'title',
                body => CASE WHEN p_action ?| '{title, body}' THEN v_arguments ->> 'body'
                             ELSE left(p_event::text, 1600) END);
    END CASE;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.rule_fire(jsonb, jsonb) FROM PUBLIC;
