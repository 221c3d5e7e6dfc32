-- Rules: create, alter, drop, enable, disable, look at.
--
-- A rule sees what commits from its creation, or its enabling, on: it keeps
-- the position that the log had then, and the ranges below it that transactions
-- then running held.

-- The type filter: null and {} let everything pass.
CREATE OR REPLACE FUNCTION reflex_internal.check_filter(p_filter jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text;
BEGIN
    IF jsonb_typeof(p_filter) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'filter must be a JSON object',
            HINT = 'For example {"type": ["order.paid", "order.refund.*"]}.';
    END IF;
    FOR v_key IN SELECT jsonb_object_keys(p_filter) LOOP
        IF v_key IN ('source', 'keyword', 'in', 'match', 'rate_limit', 'dedupe', 'all', 'any', 'not', 'function') THEN
            RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
                MESSAGE = format('filter "%s" is not yet supported', v_key),
                HINT = 'Supported is: type.';
        ELSIF v_key <> 'type' THEN
            RAISE EXCEPTION USING ERRCODE = 'PT422',
                MESSAGE = format('unknown filter "%s"', v_key), HINT = 'Supported is: type.';
        END IF;
    END LOOP;
    IF p_filter ? 'type' AND (jsonb_typeof(p_filter -> 'type') <> 'array' OR p_filter -> 'type' = '[]'
            OR jsonb_path_exists(p_filter, 'strict $.type[*] ? (@.type() <> "string" || @ == "")')) THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'filter "type" must be an array of event types',
            DETAIL = format('Found %s.', p_filter -> 'type'),
            HINT = 'A type matches exactly, or everything below it when it ends in ".*".';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_filter(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.check_trigger(p_trigger jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text := CASE jsonb_typeof(p_trigger) WHEN 'object' THEN
        (SELECT string_agg(k.key, ', ' ORDER BY k.key) FROM jsonb_object_keys(p_trigger) AS k (key)) END;
BEGIN
    IF v_key IN ('threshold', 'every', 'silence', 'function') THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = format('trigger "%s" is not yet supported', v_key),
            HINT = 'Supported is: immediate.';
    ELSIF p_trigger IS DISTINCT FROM '{"immediate": {}}' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'trigger must be {"immediate": {}}';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_trigger(jsonb) FROM PUBLIC;

-- Every {"$": path} in a template must be a jsonpath.
CREATE OR REPLACE FUNCTION reflex_internal.check_template(p_template jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE jsonb_typeof(p_template)
        WHEN 'object' THEN
            IF NOT p_template ? '$' THEN
                PERFORM reflex_internal.check_template(t.value) FROM jsonb_each(p_template) AS t;
            ELSIF p_template - '$' <> '{}' OR jsonb_typeof(p_template -> '$') <> 'string' THEN
                RAISE EXCEPTION USING ERRCODE = 'PT422',
                    MESSAGE = '"$" stands alone in its object and has a jsonpath as its value',
                    DETAIL = format('Found %s.', p_template),
                    HINT = 'For example {"$": "$.payload.amount"}.';
            ELSE
                PERFORM (p_template ->> '$')::jsonpath;
            END IF;
        WHEN 'array' THEN
            PERFORM reflex_internal.check_template(t.value) FROM jsonb_array_elements(p_template) AS t;
        ELSE NULL;
    END CASE;
EXCEPTION WHEN syntax_error THEN
    RAISE EXCEPTION USING ERRCODE = 'PT422',
        MESSAGE = format('invalid jsonpath "%s"', p_template ->> '$'), DETAIL = SQLERRM;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_template(jsonb) FROM PUBLIC;

-- A handler is a function of the owner's that takes the event as jsonb.
CREATE OR REPLACE FUNCTION reflex_internal.check_handler(p_function text, p_owner name) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_parts text[];
    v_oid oid;
BEGIN
    BEGIN
        v_parts := parse_ident(p_function);
    EXCEPTION WHEN invalid_parameter_value THEN
        v_parts := NULL;
    END;
    IF coalesce(cardinality(v_parts), 0) <> 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = format('invalid function name "%s"', p_function),
            HINT = 'Write it with its schema, as in public.on_event.';
    END IF;
    SELECT p.oid INTO v_oid FROM pg_proc AS p
    WHERE p.oid = to_regprocedure(format('%I.%I(jsonb)', v_parts[1], v_parts[2])) AND p.prokind = 'f';
    IF v_oid IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('function %s(jsonb) does not exist', p_function),
            HINT = 'A handler takes the event as its one argument, of type jsonb.';
    END IF;
    IF NOT has_function_privilege(p_owner, v_oid, 'EXECUTE') THEN
        RAISE EXCEPTION USING ERRCODE = 'PT403',
            MESSAGE = format('role "%s" may not execute %s(jsonb)', p_owner, p_function),
            DETAIL = 'A handler runs as the owner of its rule.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_handler(text, name) FROM PUBLIC;

-- What an action names must exist.
CREATE OR REPLACE FUNCTION reflex_internal.check_action_target(p_kind text, p_target text, p_owner name)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known boolean := CASE p_kind
        WHEN 'agent' THEN EXISTS (SELECT FROM reflex_internal.agent AS a WHERE a.name = p_target)
        WHEN 'effect' THEN EXISTS (SELECT FROM reflex_internal.effect_kind AS k
                                   WHERE k.kind = p_target AND k.public)
        WHEN 'notify' THEN EXISTS (SELECT FROM reflex_internal.contact AS c WHERE c.name = p_target)
        ELSE true END;
BEGIN
    IF NOT v_known THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('%s "%s" does not exist',
                CASE p_kind WHEN 'effect' THEN 'effect kind' WHEN 'notify' THEN 'contact' ELSE p_kind END,
                p_target);
    END IF;
    IF p_kind = 'function' THEN
        PERFORM reflex_internal.check_handler(p_target, p_owner);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_action_target(text, text, name) FROM PUBLIC;

-- An action is one object: the key that says what to do, and its arguments.
CREATE OR REPLACE FUNCTION reflex_internal.check_action(p_action jsonb, p_owner name) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_arguments CONSTANT jsonb := '{"agent": ["input", "session"], "function": [],
        "effect": ["payload", "session"], "publish": ["payload", "session"], "notify": ["title", "body"]}';
    v_kinds text[];
    v_unknown text;
BEGIN
    IF jsonb_typeof(p_action) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'action must be a JSON object',
            HINT = 'For example {"agent": "triage"} or {"function": "public.on_event"}.';
    ELSIF p_action ? 'flow' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'action "flow" is not yet supported';
    END IF;
    v_kinds := ARRAY(SELECT k.key FROM jsonb_object_keys(p_action) AS k (key)
                     WHERE v_arguments ? k.key ORDER BY k.key);
    IF cardinality(v_kinds) <> 1 OR jsonb_typeof(p_action -> v_kinds[1]) <> 'string'
       OR p_action ->> v_kinds[1] = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'action must say exactly one thing to do',
            DETAIL = format('Found: %s.', coalesce(nullif(array_to_string(v_kinds, ', '), ''), 'none')),
            HINT = 'One of agent, function, effect, publish, notify, with a name as its value.';
    END IF;
    SELECT k.key INTO v_unknown FROM jsonb_object_keys(p_action) AS k (key)
    WHERE k.key <> v_kinds[1] AND NOT v_arguments -> v_kinds[1] ? k.key ORDER BY k.key LIMIT 1;
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = format('action "%s" has no argument "%s"', v_kinds[1], v_unknown);
    END IF;
    PERFORM reflex_internal.check_action_target(v_kinds[1], p_action ->> v_kinds[1], p_owner);
    PERFORM reflex_internal.check_template(p_action - v_kinds[1]);
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_action(jsonb, name) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.no_rule(p_name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PT404', MESSAGE = format('rule "%s" does not exist', p_name),
        HINT = 'The view reflex.rules lists what there is.';
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.no_rule(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.create_rule(
    name text, filter jsonb DEFAULT NULL, trigger jsonb DEFAULT '{"immediate": {}}', action jsonb DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_name('rule', create_rule.name);
    PERFORM reflex_internal.check_filter(coalesce(create_rule.filter, '{}'));
    PERFORM reflex_internal.check_trigger(create_rule.trigger);
    PERFORM reflex_internal.check_action(create_rule.action, reflex_internal.caller());
    INSERT INTO reflex_internal.rule (name, owner, enabled, filter, trigger, action, since_seq, since_held)
    SELECT create_rule.name, reflex_internal.caller(), true, coalesce(create_rule.filter, '{}'),
           create_rule.trigger, create_rule.action, p.next, p.held
    FROM reflex_internal.log_position(0::smallint) AS p;
    PERFORM reflex_internal.subscription_create('rule:' || create_rule.name, 0, true);
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION USING ERRCODE = 'PT409',
        MESSAGE = format('rule "%s" already exists', create_rule.name),
        HINT = 'Use reflex.alter_rule to change it.';
END
$$;
COMMENT ON FUNCTION reflex.create_rule(text, jsonb, jsonb, jsonb) IS
'Lets something happen for every event that passes the filter and commits from now on, exactly once. filter: {"type": ["a", "b.*"]}, {} for all. trigger: {"immediate": {}}. action: one of {"agent": name, "input": ...}, {"function": "schema.fn"} (fn(event jsonb), run as the owner of the rule), {"effect": kind, "payload": ...}, {"publish": type, "payload": ...}, {"notify": contact, "body": ...}; {"$": "$.payload.x"} stands for a jsonpath on the event, and without input or payload the whole event is given. PT403, PT404, PT409, PT422 for what is wrong with the arguments, 0A000 for what is not yet supported.';
REVOKE ALL ON FUNCTION reflex.create_rule(text, jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.create_rule(text, jsonb, jsonb, jsonb) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.alter_rule(
    name text, filter jsonb DEFAULT NULL, trigger jsonb DEFAULT NULL, action jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rule reflex_internal.rule;
BEGIN
    SELECT r.* INTO v_rule FROM reflex_internal.rule AS r WHERE r.name = alter_rule.name FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM reflex_internal.no_rule(alter_rule.name);
    END IF;
    -- Who changes what is done must not have it done as somebody else.
    IF alter_rule.action IS NOT NULL AND NOT pg_has_role(reflex_internal.caller(), v_rule.owner, 'member') THEN
        RAISE EXCEPTION USING ERRCODE = 'PT403',
            MESSAGE = format('rule "%s" belongs to role "%s"', v_rule.name, v_rule.owner),
            DETAIL = 'Its action runs as its owner.';
    END IF;
    v_rule.filter := coalesce(alter_rule.filter, v_rule.filter);
    v_rule.trigger := coalesce(alter_rule.trigger, v_rule.trigger);
    v_rule.action := coalesce(alter_rule.action, v_rule.action);
    PERFORM reflex_internal.check_filter(v_rule.filter);
    PERFORM reflex_internal.check_trigger(v_rule.trigger);
    PERFORM reflex_internal.check_action(v_rule.action, v_rule.owner);
    UPDATE reflex_internal.rule AS r
    SET filter = v_rule.filter, trigger = v_rule.trigger, action = v_rule.action
    WHERE r.name = alter_rule.name;
    PERFORM reflex_internal.subscriptions_changed();
END
$$;
COMMENT ON FUNCTION reflex.alter_rule(text, jsonb, jsonb, jsonb) IS
'Changes the named arguments of a rule; null leaves a value as it is. What failed before is tried again with the new action. PT403 when the action of somebody else''s rule would change, PT404 when there is none, PT422 and 0A000 as create_rule.';
REVOKE ALL ON FUNCTION reflex.alter_rule(text, jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.alter_rule(text, jsonb, jsonb, jsonb) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.drop_rule(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM reflex_internal.rule AS r WHERE r.name = drop_rule.name;
    IF NOT FOUND THEN
        PERFORM reflex_internal.no_rule(drop_rule.name);
    END IF;
    PERFORM reflex_internal.subscription_drop('rule:' || drop_rule.name);
END
$$;
COMMENT ON FUNCTION reflex.drop_rule(text) IS
'Removes a rule and what waits to be tried again for it. PT404 when there is none.';
REVOKE ALL ON FUNCTION reflex.drop_rule(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.drop_rule(text) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.enable_rule(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE reflex_internal.rule AS r
    SET enabled = true, since_seq = p.next, since_held = p.held
    FROM reflex_internal.log_position(0::smallint) AS p
    WHERE r.name = enable_rule.name AND NOT r.enabled;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM reflex_internal.rule AS r WHERE r.name = enable_rule.name) THEN
        PERFORM reflex_internal.no_rule(enable_rule.name);
    END IF;
    PERFORM reflex_internal.subscriptions_changed();
END
$$;
COMMENT ON FUNCTION reflex.enable_rule(text) IS
'Lets a disabled rule go on: it sees what commits from now on, and tries again what had failed. PT404 when there is none.';
REVOKE ALL ON FUNCTION reflex.enable_rule(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.enable_rule(text) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.disable_rule(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE reflex_internal.rule AS r SET enabled = false WHERE r.name = disable_rule.name;
    IF NOT FOUND THEN
        PERFORM reflex_internal.no_rule(disable_rule.name);
    END IF;
    PERFORM reflex_internal.subscriptions_changed();
END
$$;
COMMENT ON FUNCTION reflex.disable_rule(text) IS
'Stops a rule: it does not see what commits until it is enabled again. PT404 when there is none.';
REVOKE ALL ON FUNCTION reflex.disable_rule(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.disable_rule(text) TO reflex_admin;

CREATE OR REPLACE VIEW reflex.rules AS
SELECT r.name, r.owner, r.enabled, r.filter, r.trigger, r.action, r.created_at
FROM reflex_internal.rule AS r;
COMMENT ON VIEW reflex.rules IS 'The rules; what waits to be tried again is in the subscription rule:<name>';
GRANT SELECT ON reflex.rules TO reflex_admin, reflex_monitor;
