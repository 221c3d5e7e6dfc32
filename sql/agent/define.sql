-- Providers and agents: create, alter, drop, look at.
--
-- A definition is checked when it is written, so that a run fails for what the
-- model or the network does and not for a spelling mistake.  Null leaves a
-- value as it is in alter_*.

-- Raises PT422 when a name would not do in "provider:model" or in a request.
CREATE OR REPLACE FUNCTION reflex_internal.check_name(p_what text, p_name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_name IS NULL OR p_name !~ '^[A-Za-z][A-Za-z0-9_.-]{0,62}$' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = format('invalid name of %s: %s', p_what, coalesce(quote_ident(p_name), 'null')),
            HINT = 'A name starts with a letter, goes on with letters, digits, "_", "." and "-", and has at most 63 characters.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_name(text, text) FROM PUBLIC;

-- The URL is not quoted in the error: a password may stand in it.
CREATE OR REPLACE FUNCTION reflex_internal.check_base_url(p_url text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_url IS NULL OR p_url !~ '^https?://[^/?#@\s]+(/[^?#@\s]*)?$' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'base_url must be an http or https URL without user name, query and fragment',
            HINT = 'For example https://api.openai.com/v1; keys belong into a secret (reflex.set_secret).';
    END IF;
    RETURN rtrim(p_url, '/');
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_base_url(text) FROM PUBLIC;

-- Headers are shown in a view, so no credential may hide among them.
CREATE OR REPLACE FUNCTION reflex_internal.check_headers(p_headers jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
    v_value jsonb;
BEGIN
    IF jsonb_typeof(coalesce(p_headers, '{}')) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'headers must be a JSON object of strings';
    END IF;
    FOR v_name, v_value IN SELECT h.key, h.value FROM jsonb_each(p_headers) AS h LOOP
        IF v_name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' OR jsonb_typeof(v_value) <> 'string'
           OR v_value #>> '{}' ~ '[\r\n]' THEN
            RAISE EXCEPTION USING ERRCODE = 'PT422',
                MESSAGE = format('invalid header "%s"', v_name),
                DETAIL = 'A header has a token as its name and one line of text as its value.';
        END IF;
        IF lower(v_name) IN ('authorization', 'proxy-authorization', 'cookie', 'api-key', 'x-api-key') THEN
            RAISE EXCEPTION USING ERRCODE = 'PT422',
                MESSAGE = format('header "%s" carries a credential', v_name),
                HINT = 'Store it with reflex.set_secret and name it in secret.';
        END IF;
    END LOOP;
    RETURN coalesce(p_headers, '{}');
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_headers(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.create_provider(
    name text, kind text DEFAULT 'openai', base_url text DEFAULT NULL, secret text DEFAULT NULL,
    headers jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_name('provider', create_provider.name);
    IF create_provider.kind IS DISTINCT FROM 'openai' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = format('provider kind "%s" is not supported', create_provider.kind),
            DETAIL = 'Supported is: openai (OpenAI-compatible chat completions).';
    END IF;
    INSERT INTO reflex_internal.provider (name, kind, base_url, secret, headers, owner)
    VALUES (create_provider.name, create_provider.kind,
            reflex_internal.check_base_url(create_provider.base_url), create_provider.secret,
            reflex_internal.check_headers(create_provider.headers), reflex_internal.caller());
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION USING ERRCODE = 'PT409',
        MESSAGE = format('provider "%s" already exists', create_provider.name),
        HINT = 'Use reflex.alter_provider to change it.';
END
$$;
COMMENT ON FUNCTION reflex.create_provider(text, text, text, text, jsonb) IS
'Names a service that answers model calls. kind: openai (OpenAI-compatible chat completions: OpenAI, OpenRouter, Ollama, vLLM, llama.cpp). base_url: up to and without /chat/completions. secret: name of the secret with the key, null for none. headers: object of strings sent with every call. PT409 when it exists, PT422 for invalid arguments.';
REVOKE ALL ON FUNCTION reflex.create_provider(text, text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.create_provider(text, text, text, text, jsonb) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.alter_provider(
    name text, base_url text DEFAULT NULL, secret text DEFAULT NULL, headers jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE reflex_internal.provider AS p
    SET base_url = CASE WHEN alter_provider.base_url IS NULL THEN p.base_url
                        ELSE reflex_internal.check_base_url(alter_provider.base_url) END,
        secret = coalesce(alter_provider.secret, p.secret),
        headers = CASE WHEN alter_provider.headers IS NULL THEN p.headers
                       ELSE reflex_internal.check_headers(alter_provider.headers) END
    WHERE p.name = alter_provider.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('provider "%s" does not exist', alter_provider.name);
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.alter_provider(text, text, text, jsonb) IS
'Changes the named arguments of a provider; null leaves a value as it is. Runs under way use the new values from their next call. PT404 when there is none, PT422 for invalid arguments.';
REVOKE ALL ON FUNCTION reflex.alter_provider(text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.alter_provider(text, text, text, jsonb) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.drop_provider(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_agents text;
BEGIN
    SELECT string_agg(a.name, ', ' ORDER BY a.name) INTO v_agents
    FROM reflex_internal.agent AS a
    WHERE split_part(a.model, ':', 1) = drop_provider.name;
    IF v_agents IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT409',
            MESSAGE = format('provider "%s" is in use', drop_provider.name),
            DETAIL = format('Agents that use it: %s.', v_agents),
            HINT = 'Drop them or give them another model first.';
    END IF;
    DELETE FROM reflex_internal.provider AS p WHERE p.name = drop_provider.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('provider "%s" does not exist', drop_provider.name);
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.drop_provider(text) IS
'Removes a provider. PT404 when there is none, PT409 while an agent names it.';
REVOKE ALL ON FUNCTION reflex.drop_provider(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.drop_provider(text) TO reflex_admin;

CREATE OR REPLACE VIEW reflex.providers AS
SELECT p.name, p.kind, p.base_url, p.secret, p.headers, p.owner, p.created_at
FROM reflex_internal.provider AS p;
COMMENT ON VIEW reflex.providers IS 'The services that answer model calls; secret is the name of one, never its value';
GRANT SELECT ON reflex.providers TO reflex_admin, reflex_monitor;

-- The parts of "provider:model"; the model's name may hold more colons.
CREATE OR REPLACE FUNCTION reflex_internal.split_model(p_model text, OUT provider text, OUT model text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    provider := substring(p_model FROM '^([^:]+):');
    model := substring(p_model FROM '^[^:]+:(.+)$');
    IF provider IS NULL OR model IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = format('invalid model "%s"', p_model),
            HINT = 'A model is written provider:model, as in openai:gpt-4o-mini.';
    END IF;
    IF NOT EXISTS (SELECT FROM reflex_internal.provider AS p WHERE p.name = split_model.provider) THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('provider "%s" does not exist', provider),
            HINT = format('Create it with SELECT reflex.create_provider(%L, base_url => ...).', provider);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.split_model(text) FROM PUBLIC;

-- What is wrong with an agent as it would be stored.
CREATE OR REPLACE FUNCTION reflex_internal.check_agent(p_agent reflex_internal.agent) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_what text := CASE
        WHEN p_agent.max_output_tokens < 1 THEN 'max_output_tokens must be at least 1'
        WHEN p_agent.temperature < 0 OR p_agent.temperature > 2 THEN 'temperature must lie between 0 and 2'
        WHEN p_agent.timeout < interval '1 ms' OR p_agent.timeout > interval '1 day'
            THEN 'timeout must lie between 1 ms and 1 day'
        WHEN p_agent.max_retries < 0 OR p_agent.max_retries > 10 THEN 'max_retries must lie between 0 and 10'
        END;
BEGIN
    IF v_what IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = v_what;
    END IF;
    PERFORM reflex_internal.split_model(coalesce(p_agent.model, current_setting('reflex.default_model')));
    PERFORM reflex_internal.check_schema(p_agent.output_schema);
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_agent(reflex_internal.agent) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.create_agent(
    name text, model text DEFAULT NULL, instructions text DEFAULT NULL, output_schema jsonb DEFAULT NULL,
    max_output_tokens int DEFAULT NULL, temperature numeric DEFAULT NULL, timeout interval DEFAULT NULL,
    max_retries int DEFAULT 2) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_agent reflex_internal.agent := ROW(name, model, instructions, output_schema, max_output_tokens,
        temperature, timeout, coalesce(max_retries, 2), reflex_internal.caller(), clock_timestamp());
BEGIN
    PERFORM reflex_internal.check_name('agent', create_agent.name);
    PERFORM reflex_internal.check_agent(v_agent);
    INSERT INTO reflex_internal.agent SELECT v_agent.*;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION USING ERRCODE = 'PT409',
        MESSAGE = format('agent "%s" already exists', create_agent.name),
        HINT = 'Use reflex.alter_agent to change it.';
END
$$;
COMMENT ON FUNCTION reflex.create_agent(text, text, text, jsonb, int, numeric, interval, int) IS
'Defines an agent. model: provider:model, null for reflex.default_model at the time of a run. output_schema: JSON Schema of an object that the answer must have. timeout: of one model call, null for reflex.llm_timeout to the first byte and 5 minutes in all. max_retries: how often the model is told what was wrong with its answer. PT404 when the provider does not exist, PT409 when the agent does, PT422 for invalid arguments.';
REVOKE ALL ON FUNCTION reflex.create_agent(text, text, text, jsonb, int, numeric, interval, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.create_agent(text, text, text, jsonb, int, numeric, interval, int) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.alter_agent(
    name text, model text DEFAULT NULL, instructions text DEFAULT NULL, output_schema jsonb DEFAULT NULL,
    max_output_tokens int DEFAULT NULL, temperature numeric DEFAULT NULL, timeout interval DEFAULT NULL,
    max_retries int DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_agent reflex_internal.agent;
BEGIN
    SELECT a.* INTO v_agent FROM reflex_internal.agent AS a WHERE a.name = alter_agent.name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('agent "%s" does not exist', alter_agent.name);
    END IF;
    v_agent.model := coalesce(alter_agent.model, v_agent.model);
    v_agent.instructions := coalesce(alter_agent.instructions, v_agent.instructions);
    v_agent.output_schema := nullif(coalesce(alter_agent.output_schema, v_agent.output_schema), 'null');
    v_agent.max_output_tokens := coalesce(alter_agent.max_output_tokens, v_agent.max_output_tokens);
    v_agent.temperature := coalesce(alter_agent.temperature, v_agent.temperature);
    v_agent.timeout := coalesce(alter_agent.timeout, v_agent.timeout);
    v_agent.max_retries := coalesce(alter_agent.max_retries, v_agent.max_retries);
    PERFORM reflex_internal.check_agent(v_agent);
    UPDATE reflex_internal.agent AS a
    SET model = v_agent.model, instructions = v_agent.instructions, output_schema = v_agent.output_schema,
        max_output_tokens = v_agent.max_output_tokens, temperature = v_agent.temperature,
        timeout = v_agent.timeout, max_retries = v_agent.max_retries
    WHERE a.name = alter_agent.name;
END
$$;
COMMENT ON FUNCTION reflex.alter_agent(text, text, text, jsonb, int, numeric, interval, int) IS
'Changes the named arguments of an agent; null leaves a value as it is, and the JSON null takes output_schema away. Runs under way keep the definition they started with. PT404 when there is none, PT422 for invalid arguments.';
REVOKE ALL ON FUNCTION reflex.alter_agent(text, text, text, jsonb, int, numeric, interval, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.alter_agent(text, text, text, jsonb, int, numeric, interval, int) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.drop_agent(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM reflex_internal.agent AS a WHERE a.name = drop_agent.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('agent "%s" does not exist', drop_agent.name);
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.drop_agent(text) IS
'Removes an agent; its runs stay, and those under way go on. PT404 when there is none.';
REVOKE ALL ON FUNCTION reflex.drop_agent(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.drop_agent(text) TO reflex_admin;

CREATE OR REPLACE VIEW reflex.agents AS
SELECT a.name, a.model, a.instructions, a.output_schema, a.max_output_tokens, a.temperature, a.timeout,
       a.max_retries, a.owner, a.created_at
FROM reflex_internal.agent AS a;
COMMENT ON VIEW reflex.agents IS 'The agents as they are defined now; a null model means reflex.default_model';
GRANT SELECT ON reflex.agents TO reflex_admin, reflex_monitor;
