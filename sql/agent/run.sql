-- Runs: a question to a model, durable from the asking to the answer.
--
--   run_agent ──► run row + effect of kind "model"      one transaction, the caller's
--                    │
--                    ▼  the io worker sends what model_request builds
--                 model_outcome ── no answer to read ──► retry, or dead: the run fails
--                    │
--                    ├─ answer not of the schema's shape ──► step, next "model" effect
--                    └─ good ──► step, result, agent.completed
--
-- Each turn is its own effect, so that waiting, retrying and giving up are the
-- effect room's.  A turn's step is written once (its key is the turn): an
-- answer that comes a second time, after a crash between sending and
-- recording, changes nothing.

CREATE OR REPLACE FUNCTION reflex.run_agent(
    agent text, input jsonb, session text DEFAULT NULL, dedupe_key text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_agent reflex_internal.agent;
    v_model record;
    v_number bigint;
    v_now timestamptz := clock_timestamp();
    v_run uuid;
BEGIN
    IF dedupe_key IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = 'dedupe_key of run_agent is not yet supported';
    END IF;
    IF input IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'input of an agent must not be null';
    END IF;
    SELECT a.* INTO v_agent FROM reflex_internal.agent AS a WHERE a.name = run_agent.agent;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('agent "%s" does not exist', run_agent.agent),
            HINT = 'Create it with reflex.create_agent; the view reflex.agents lists what there is.';
    END IF;
    SELECT m.* INTO v_model FROM reflex_internal.split_model(
        coalesce(v_agent.model, current_setting('reflex.default_model'))) AS m;
    v_number := nextval('reflex_internal.run_number');
    v_run := reflex_internal.make_id(4, v_number, v_now);
    INSERT INTO reflex_internal.run (id, number, agent, definition, input, session, role, meta, created_at)
    VALUES (v_run, v_number, v_agent.name,
            to_jsonb(v_agent) - 'owner' - 'created_at'
                || jsonb_build_object('provider', v_model.provider, 'model', v_model.model),
            run_agent.input, run_agent.session, reflex_internal.caller(), reflex_internal.trace_meta(), v_now);
    PERFORM reflex_internal.ask_model(v_run, 1);
    RETURN v_run;
END
$$;
COMMENT ON FUNCTION reflex.run_agent(text, jsonb, text, text) IS
'Asks an agent and returns the id of the run; the model is called after commit. input: a JSON string is given to the model as it is, anything else as JSON. The answer is read with run_result, or arrives as an event agent.completed or agent.failed of this session. PT404 when the agent or its provider does not exist, PT422 when input is null.';
REVOKE ALL ON FUNCTION reflex.run_agent(text, jsonb, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.run_agent(text, jsonb, text, text) TO reflex_admin, reflex_app;

-- The trace context of this session as meta, null when there is none.
CREATE OR REPLACE FUNCTION reflex_internal.trace_meta() RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('traceparent', t.value)
    FROM nullif(current_setting('reflex.traceparent'), '') AS t (value) WHERE t.value IS NOT NULL
$$;
REVOKE ALL ON FUNCTION reflex_internal.trace_meta() FROM PUBLIC;

-- One turn.  The effect carries no session: a model that thinks must not hold
-- up what else the session wants to send.
CREATE OR REPLACE FUNCTION reflex_internal.ask_model(p_run uuid, p_turn int) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT reflex_internal.emit_effect('model', jsonb_build_object('run', p_run, 'turn', p_turn), NULL,
        (SELECT r.meta FROM reflex_internal.run AS r WHERE r.id = p_run))
$$;
REVOKE ALL ON FUNCTION reflex_internal.ask_model(uuid, int) FROM PUBLIC;

-- Reading ------------------------------------------------------------------

-- Who may look at what this role has caused: itself, reflex_admin, superusers.
CREATE OR REPLACE FUNCTION reflex_internal.may_see(p_role name) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p_role = reflex_internal.caller() OR pg_has_role(reflex_internal.caller(), 'reflex_admin', 'member')
$$;
REVOKE ALL ON FUNCTION reflex_internal.may_see(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex_internal.may_see(name) TO reflex_admin, reflex_app, reflex_monitor;

-- A run of somebody else's is as good as none.
CREATE OR REPLACE FUNCTION reflex_internal.check_run(p_run uuid) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM reflex_internal.run AS r
                   WHERE r.id = p_run AND reflex_internal.may_see(r.role)) THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404', MESSAGE = format('run %s does not exist', p_run);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_run(uuid) FROM PUBLIC;

-- The sum of what the steps used, key by key; null when nothing was reported.
CREATE OR REPLACE FUNCTION reflex_internal.run_usage(p_run uuid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_object_agg(t.key, t.total) FROM (
        SELECT u.key, sum((u.value #>> '{}')::numeric) AS total
        FROM reflex_internal.run_step AS s, jsonb_each(s.usage) AS u
        WHERE s.run = p_run GROUP BY u.key) AS t
$$;
REVOKE ALL ON FUNCTION reflex_internal.run_usage(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.run_result(run uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_result reflex_internal.run_result;
BEGIN
    PERFORM reflex_internal.check_run(run_result.run);
    SELECT r.* INTO v_result FROM reflex_internal.run_result AS r WHERE r.run = run_result.run;
    RETURN jsonb_build_object(
        'status', coalesce(v_result.status, 'running'),
        'result', v_result.result,
        'error', v_result.error,
        'steps', (SELECT count(*) FROM reflex_internal.run_step AS s WHERE s.run = run_result.run),
        'usage', coalesce(v_result.usage, reflex_internal.run_usage(run_result.run)));
END
$$;
COMMENT ON FUNCTION reflex.run_result(uuid) IS
'What a run has come to: {"status": "running" | "completed" | "failed", "result", "error", "steps", "usage"}. usage: tokens, summed over the steps. PT404 when there is no such run of the caller''s.';
REVOKE ALL ON FUNCTION reflex.run_result(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.run_result(uuid) TO reflex_admin, reflex_app;

CREATE OR REPLACE FUNCTION reflex.run_steps(run uuid)
RETURNS TABLE (step int, kind text, content jsonb, usage jsonb, at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_run(run_steps.run);
    RETURN QUERY SELECT s.step, s.kind, s.content, s.usage, s.at
        FROM reflex_internal.run_step AS s WHERE s.run = run_steps.run ORDER BY s.step;
END
$$;
COMMENT ON FUNCTION reflex.run_steps(uuid) IS
'The steps of a run in order. content of a step of kind model: {"text", "finish_reason", "model", "errors"}; errors: what was wrong with the answer. PT404 when there is no such run of the caller''s.';
REVOKE ALL ON FUNCTION reflex.run_steps(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.run_steps(uuid) TO reflex_admin, reflex_app;

CREATE OR REPLACE VIEW reflex.runs WITH (security_barrier) AS
SELECT r.id, r.agent, coalesce(f.status, 'running') AS status, r.session, r.role, r.input, f.result, f.error,
       f.usage, r.created_at, f.finished_at
FROM reflex_internal.run AS r
LEFT JOIN reflex_internal.run_result AS f ON f.run = r.id
WHERE reflex_internal.may_see(r.role);
COMMENT ON VIEW reflex.runs IS 'The runs that the caller has caused; all of them for reflex_admin';
GRANT SELECT ON reflex.runs TO reflex_admin, reflex_app;

-- Asking the model -----------------------------------------------------------

-- What a model is told about an answer that was not good.
CREATE OR REPLACE FUNCTION reflex_internal.reprompt(p_errors jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT E'Your answer was not accepted:\n'
        || (SELECT string_agg('- ' || e.error, E'\n') FROM jsonb_array_elements_text(p_errors) AS e (error))
        || E'\nAnswer again, with nothing but JSON that fits the schema.'
$$;
REVOKE ALL ON FUNCTION reflex_internal.reprompt(jsonb) FROM PUBLIC;

-- The conversation so far: instructions, input, and each answer that was
-- refused followed by why.
CREATE OR REPLACE FUNCTION reflex_internal.run_messages(p_run reflex_internal.run) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_object('role', m.role, 'content', m.content) ORDER BY m.step, m.part)
    FROM (
        SELECT 0 AS step, 0 AS part, 'system' AS role, p_run.definition ->> 'instructions' AS content
        UNION ALL
        SELECT 0, 1, 'user', p_run.input #>> '{}'
        UNION ALL
        SELECT s.step, 0, 'assistant', coalesce(s.content ->> 'text', '')
        FROM reflex_internal.run_step AS s WHERE s.run = p_run.id
        UNION ALL
        SELECT s.step, 1, 'user', reflex_internal.reprompt(s.content -> 'errors')
        FROM reflex_internal.run_step AS s WHERE s.run = p_run.id) AS m
    WHERE m.content IS NOT NULL
$$;
REVOKE ALL ON FUNCTION reflex_internal.run_messages(reflex_internal.run) FROM PUBLIC;

-- A model without a given timeout has reflex.llm_timeout to its first byte,
-- and five minutes in all.  One that was given a timeout answers in one piece
-- and may use all of it before its first byte.
CREATE OR REPLACE FUNCTION reflex_internal.model_timeouts(p_definition jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'first_byte_timeout_ms', (extract(epoch FROM coalesce(p_definition ->> 'timeout',
            current_setting('reflex.llm_timeout'))::interval) * 1000)::bigint,
        'total_timeout_ms', (extract(epoch FROM coalesce(p_definition ->> 'timeout',
            '5 min')::interval) * 1000)::bigint)
$$;
REVOKE ALL ON FUNCTION reflex_internal.model_timeouts(jsonb) FROM PUBLIC;

-- The body of a chat completions request.  Absent is not null here: servers
-- refuse nulls for some of these.
CREATE OR REPLACE FUNCTION reflex_internal.model_body(p_run reflex_internal.run) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
            'model', p_run.definition -> 'model',
            'max_completion_tokens', p_run.definition -> 'max_output_tokens',
            'temperature', p_run.definition -> 'temperature'))
        || jsonb_build_object('messages', reflex_internal.run_messages(p_run))
        || CASE WHEN p_run.definition ->> 'output_schema' IS NULL THEN '{}' ELSE
            jsonb_build_object('response_format', jsonb_build_object(
                'type', 'json_schema',
                'json_schema', jsonb_build_object(
                    'name', translate(p_run.agent, '.', '_'),
                    'strict', reflex_internal.schema_is_strict(p_run.definition -> 'output_schema'),
                    'schema', p_run.definition -> 'output_schema'))) END
$$;
REVOKE ALL ON FUNCTION reflex_internal.model_body(reflex_internal.run) FROM PUBLIC;

-- The request function of the kind "model".  For a run that has a result it
-- raises what makes the effect dead, so that a dead letter that is tried again
-- costs no money.  A provider that is missing may come.
CREATE OR REPLACE FUNCTION reflex_internal.model_request(p_effect uuid, p_session text, p_payload jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_run reflex_internal.run;
    v_provider reflex_internal.provider;
BEGIN
    SELECT r.* INTO STRICT v_run FROM reflex_internal.run AS r WHERE r.id = (p_payload ->> 'run')::uuid;
    IF EXISTS (SELECT FROM reflex_internal.run_result AS f WHERE f.run = v_run.id) THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = format('run %s has a result already', v_run.id);
    END IF;
    SELECT p.* INTO v_provider FROM reflex_internal.provider AS p
    WHERE p.name = v_run.definition ->> 'provider';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('provider "%s" does not exist', v_run.definition ->> 'provider');
    END IF;
    RETURN jsonb_build_object(
            'url', v_provider.base_url || '/chat/completions',
            'method', 'POST',
            'headers', v_provider.headers,
            'body', reflex_internal.model_body(v_run))
        || reflex_internal.model_timeouts(v_run.definition)
        || CASE WHEN v_provider.secret IS NULL THEN '{}' ELSE
            jsonb_build_object('auth', jsonb_build_object('type', 'bearer', 'secret', v_provider.secret)) END;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.model_request(uuid, text, jsonb) FROM PUBLIC;

-- Reading the answer ---------------------------------------------------------

-- JSON that may not be: the value, or why there is none.
CREATE OR REPLACE FUNCTION reflex_internal.try_jsonb(p_text text, OUT value jsonb, OUT error text)
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_detail text;
BEGIN
    value := p_text::jsonb;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
    error := left(concat_ws(': ', SQLERRM, nullif(v_detail, '')), 500);
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.try_jsonb(text) FROM PUBLIC;

-- The body of an HTTP answer.  A NUL that is escaped in it, which jsonb can't
-- hold, becomes U+FFFD: the answer around it is still worth reading.
CREATE OR REPLACE FUNCTION reflex_internal.answer_body(p_body text, OUT value jsonb, OUT error text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.value, j.error FROM reflex_internal.try_jsonb(
        CASE WHEN strpos(p_body, '\u0000') = 0 THEN p_body
             ELSE regexp_replace(p_body, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g') END) AS j
$$;
REVOKE ALL ON FUNCTION reflex_internal.answer_body(text) FROM PUBLIC;

-- The HTTP status that an error stands for.  OpenAI sends it as the status;
-- OpenRouter also inside HTTP 200, as a number; others as words.
CREATE OR REPLACE FUNCTION reflex_internal.error_status(p_status int, p_error jsonb) RETURNS int
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN v.words ~ '(insufficient_quota|payment_required|billing|credit)' THEN 402
        WHEN p_status <> 200 THEN p_status
        WHEN v.code ~ '^[45][0-9][0-9]$' THEN v.code::int
        WHEN v.words ~ '(rate_limit|too_many_requests)' THEN 429
        WHEN v.words ~ '(authentication|permission|invalid_api_key)' THEN 401
        WHEN v.words ~ '(invalid|not_found|unprocessable|context_length|too_large|content_policy|refusal)' THEN 400
        ELSE 503 END
    FROM (SELECT CASE jsonb_typeof(p_error) WHEN 'object' THEN p_error ->> 'code' END AS code,
                 lower(CASE jsonb_typeof(p_error) WHEN 'object' THEN concat_ws(' ', p_error ->> 'code',
                     p_error ->> 'type', p_error #>> '{metadata,error_type}') END) AS words) AS v
$$;
REVOKE ALL ON FUNCTION reflex_internal.error_status(int, jsonb) FROM PUBLIC;

-- The verdict where there is no message to read: null when there is one.
CREATE OR REPLACE FUNCTION reflex_internal.model_trouble(p_status int, p_body jsonb, p_parse_error text)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_error jsonb := CASE jsonb_typeof(p_body) WHEN 'object' THEN nullif(p_body -> 'error', 'null') END;
    v_status int := reflex_internal.error_status(p_status, v_error);
    v_words text := left(coalesce(v_error ->> 'message', v_error #>> '{}'), 500);
BEGIN
    IF p_status = 200 AND v_error IS NULL THEN
        RETURN CASE
            WHEN p_parse_error IS NOT NULL THEN jsonb_build_object('verdict', 'retry',
                'error', 'the provider''s answer is not JSON: ' || p_parse_error)
            WHEN jsonb_typeof(p_body #> '{choices,0,message}') IS DISTINCT FROM 'object' THEN
                jsonb_build_object('verdict', 'retry', 'error', 'the provider''s answer holds no choices')
            END;
    END IF;
    -- The words about a refused key may quote the key.
    RETURN CASE
        WHEN v_status = 401 THEN jsonb_build_object('verdict', 'dead',
            'error', 'the provider refuses the key (401)')
        WHEN v_status = 402 THEN jsonb_build_object('verdict', 'dead',
            'error', concat_ws(': ', 'the provider asks for money (402)', v_words))
        ELSE jsonb_build_object(
            'verdict', CASE WHEN v_status IN (408, 409, 425, 429) OR v_status >= 500 THEN 'retry' ELSE 'dead' END,
            'error', concat_ws(': ', format('the provider answers %s', v_status), v_words)) END;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.model_trouble(int, jsonb, text) FROM PUBLIC;

-- The text of a message: a string, or the text parts of an array.
CREATE OR REPLACE FUNCTION reflex_internal.message_text(p_message jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE jsonb_typeof(p_message -> 'content')
        WHEN 'string' THEN p_message ->> 'content'
        WHEN 'array' THEN (SELECT string_agg(c.part ->> 'text', '' ORDER BY c.n)
            FROM jsonb_array_elements(p_message -> 'content') WITH ORDINALITY AS c (part, n)
            WHERE jsonb_typeof(c.part) = 'object') END
$$;
REVOKE ALL ON FUNCTION reflex_internal.message_text(jsonb) FROM PUBLIC;

-- Why asking again with the same words would not help; null when it might.
CREATE OR REPLACE FUNCTION reflex_internal.final_error(p_choice jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN p_choice #>> '{message,refusal}' <> ''
            THEN 'the model refused: ' || left(p_choice #>> '{message,refusal}', 500)
        WHEN p_choice ->> 'finish_reason' = 'content_filter'
            THEN 'the provider''s content filter stopped the answer'
        WHEN p_choice ->> 'finish_reason' = 'length'
            THEN 'the answer was cut off at the limit of tokens (max_output_tokens)' END
$$;
REVOKE ALL ON FUNCTION reflex_internal.final_error(jsonb) FROM PUBLIC;

-- What the text comes to under a schema (null for none), and what is wrong.
CREATE OR REPLACE FUNCTION reflex_internal.read_answer(
    p_text text, p_schema jsonb, OUT result jsonb, OUT errors text[])
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_parse_error text;
BEGIN
    errors := '{}';
    IF coalesce(p_text, '') = '' THEN
        errors := ARRAY['the answer is empty'];
    ELSIF p_schema IS NULL THEN
        result := to_jsonb(p_text);
    ELSE
        SELECT j.value, j.error INTO result, v_parse_error FROM reflex_internal.try_jsonb(p_text) AS j;
        errors := CASE WHEN v_parse_error IS NULL THEN reflex_internal.answer_errors(p_schema, result)
                       ELSE ARRAY['the answer is not JSON: ' || v_parse_error] END;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.read_answer(text, jsonb) FROM PUBLIC;

-- The counts of tokens that the provider reported, flat: nothing else of usage
-- can be summed.
CREATE OR REPLACE FUNCTION reflex_internal.flat_usage(p_usage jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_object_agg(u.key, u.value)
    FROM jsonb_each(CASE jsonb_typeof(p_usage) WHEN 'object' THEN p_usage END) AS u
    WHERE jsonb_typeof(u.value) = 'number'
$$;
REVOKE ALL ON FUNCTION reflex_internal.flat_usage(jsonb) FROM PUBLIC;

-- Ends a run, once.  A result too large for an event is left out of the event.
CREATE OR REPLACE FUNCTION reflex_internal.finish_run(p_run uuid, p_result jsonb, p_error text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_run reflex_internal.run;
    v_usage jsonb := reflex_internal.run_usage(p_run);
    v_type text := CASE WHEN p_error IS NULL THEN 'agent.completed' ELSE 'agent.failed' END;
    v_event jsonb;
BEGIN
    SELECT r.* INTO STRICT v_run FROM reflex_internal.run AS r WHERE r.id = p_run;
    INSERT INTO reflex_internal.run_result (run, status, result, error, usage)
    VALUES (p_run, CASE WHEN p_error IS NULL THEN 'completed' ELSE 'failed' END, p_result, p_error, v_usage)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_event := jsonb_build_object('run', p_run, 'agent', v_run.agent, 'usage', v_usage)
        || CASE WHEN p_error IS NULL THEN '{}' ELSE jsonb_build_object('error', p_error) END;
    BEGIN
        PERFORM reflex.publish(v_type, source => 'reflex', session => v_run.session, meta => v_run.meta,
            payload => v_event || jsonb_build_object('input', v_run.input, 'result', p_result));
    EXCEPTION WHEN SQLSTATE 'PT413' THEN
        PERFORM reflex.publish(v_type, source => 'reflex', session => v_run.session, meta => v_run.meta,
            payload => v_event || '{"too_large": true}');
    END;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.finish_run(uuid, jsonb, text) FROM PUBLIC;

-- Records one answer and decides how the run goes on.
CREATE OR REPLACE FUNCTION reflex_internal.take_answer(p_run reflex_internal.run, p_turn int, p_body jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_choice jsonb := p_body #> '{choices,0}';
    v_text text := reflex_internal.message_text(v_choice -> 'message');
    v_final text := reflex_internal.final_error(v_choice);
    v_result jsonb;
    v_errors text[];
BEGIN
    SELECT a.result, a.errors INTO v_result, v_errors
    FROM reflex_internal.read_answer(v_text, nullif(p_run.definition -> 'output_schema', 'null')) AS a;
    IF v_final IS NOT NULL THEN
        v_errors := ARRAY[v_final];
    END IF;
    INSERT INTO reflex_internal.run_step (run, step, kind, content, usage)
    VALUES (p_run.id, p_turn, 'model',
            jsonb_build_object('text', v_text, 'finish_reason', v_choice -> 'finish_reason',
                               'model', p_body -> 'model', 'errors', to_jsonb(v_errors)),
            reflex_internal.flat_usage(p_body -> 'usage'))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_errors = '{}' THEN
        PERFORM reflex_internal.finish_run(p_run.id, v_result, NULL);
    ELSIF v_final IS NULL AND p_turn <= (p_run.definition ->> 'max_retries')::int THEN
        PERFORM reflex_internal.ask_model(p_run.id, p_turn + 1);
    ELSE
        PERFORM reflex_internal.finish_run(p_run.id, NULL, left(array_to_string(v_errors, '; '), 2000));
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.take_answer(reflex_internal.run, int, jsonb) FROM PUBLIC;

-- The outcome function of the kind "model".
CREATE OR REPLACE FUNCTION reflex_internal.model_outcome(
    p_effect uuid, p_session text, p_payload jsonb, p_answer jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_run reflex_internal.run;
    v_body jsonb;
    v_parse_error text;
    v_trouble jsonb;
BEGIN
    SELECT r.* INTO STRICT v_run FROM reflex_internal.run AS r WHERE r.id = (p_payload ->> 'run')::uuid;
    IF EXISTS (SELECT FROM reflex_internal.run_result AS f WHERE f.run = v_run.id) THEN
        RETURN '{"verdict": "ok"}';
    END IF;
    SELECT b.value, b.error INTO v_body, v_parse_error
    FROM reflex_internal.answer_body(p_answer ->> 'body') AS b;
    v_trouble := reflex_internal.model_trouble((p_answer ->> 'status')::int, v_body, v_parse_error);
    IF v_trouble IS NOT NULL THEN
        RETURN v_trouble;
    END IF;
    PERFORM reflex_internal.take_answer(v_run, (p_payload ->> 'turn')::int, v_body);
    RETURN '{"verdict": "ok"}';
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.model_outcome(uuid, text, jsonb, jsonb) FROM PUBLIC;

-- The dead function of the kind "model": the call was given up, so is the run.
CREATE OR REPLACE FUNCTION reflex_internal.model_dead(p_effect uuid, p_session text, p_payload jsonb, p_error text)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT reflex_internal.finish_run((p_payload ->> 'run')::uuid, NULL, coalesce(p_error, 'unknown error'))
$$;
REVOKE ALL ON FUNCTION reflex_internal.model_dead(uuid, text, jsonb, text) FROM PUBLIC;

INSERT INTO reflex_internal.effect_kind (kind, public, request, outcome, dead) VALUES
    ('model', false, 'reflex_internal.model_request', 'reflex_internal.model_outcome', 'reflex_internal.model_dead')
ON CONFLICT (kind) DO UPDATE
SET public = excluded.public, request = excluded.request, outcome = excluded.outcome, dead = excluded.dead;
