-- The kinds that reflex.emit takes, and the Twilio accounts that one of them
-- needs.  What the functions of a kind are for is told in src/effect/kind.c.

CREATE OR REPLACE FUNCTION reflex_internal.slack_request(p_effect uuid, p_session text, p_payload jsonb)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'url', jsonb_build_object('secret', p_payload ->> 'webhook'),
        'body', p_payload - 'webhook')
$$;
REVOKE ALL ON FUNCTION reflex_internal.slack_request(uuid, text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex_internal.twilio_message_request(p_effect uuid, p_session text, p_payload jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_account reflex_internal.twilio_account;
BEGIN
    SELECT * INTO v_account
    FROM reflex_internal.twilio_account a
    WHERE a.name = p_payload ->> 'account';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'twilio account "%" does not exist', p_payload ->> 'account'
            USING ERRCODE = 'PT404', HINT = 'Create it with reflex.create_twilio_account.';
    END IF;
    RETURN jsonb_build_object(
        'url', v_account.base_url || '/2010-04-01/Accounts/' || v_account.account_sid || '/Messages.json',
        'form', jsonb_build_object(
            'To', p_payload ->> 'to',
            'From', p_payload ->> 'from',
            'Body', p_payload ->> 'body',
            'ContentSid', p_payload ->> 'content_sid',
            'ContentVariables', p_payload ->> 'content_variables'),
        'auth', jsonb_build_object(
            'type', 'basic', 'user', v_account.account_sid, 'secret', v_account.secret));
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.twilio_message_request(uuid, text, jsonb) FROM PUBLIC;

-- Twilio takes no idempotency key, and a 5xx may come after the message was
-- sent: such an attempt is on record as unknown before it is made again.  20429
-- and 21611 (the sender's queue is full) say that nothing was sent; 60202 and
-- 60203 are limits that come as 429 and do not pass.
CREATE OR REPLACE FUNCTION reflex_internal.twilio_outcome(
    p_effect uuid, p_session text, p_payload jsonb, p_answer jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_status integer := (p_answer ->> 'status')::integer;
    v_code text := substring(p_answer ->> 'body' FROM '"code"\s*:\s*(\d{1,9})');
    v_error text := concat('HTTP status ', v_status, ', Twilio error ' || v_code);
BEGIN
    RETURN jsonb_build_object(
        'verdict', CASE
            WHEN v_status BETWEEN 200 AND 299 THEN 'ok'
            WHEN v_code IN ('60202', '60203') THEN 'dead'
            WHEN v_code IN ('20429', '21611') OR v_status IN (408, 425, 429) THEN 'retry'
            WHEN v_status >= 500 THEN 'unknown'
            ELSE 'dead' END,
        'error', v_error);
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.twilio_outcome(uuid, text, jsonb, jsonb) FROM PUBLIC;

INSERT INTO reflex_internal.effect_kind (kind, public, request, outcome, dead) VALUES
    ('http', true, NULL, NULL, NULL),
    ('slack', true, 'reflex_internal.slack_request', NULL, NULL),
    ('twilio.message', true, 'reflex_internal.twilio_message_request', 'reflex_internal.twilio_outcome', NULL)
ON CONFLICT (kind) DO UPDATE
SET public = excluded.public, request = excluded.request, outcome = excluded.outcome, dead = excluded.dead;

-- The checks that creating and altering share.
CREATE OR REPLACE FUNCTION reflex_internal.check_twilio_account(
    p_name text, p_account_sid text, p_secret text, p_base_url text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(p_name, '') = '' OR coalesce(p_secret, '') = '' THEN
        RAISE EXCEPTION 'name and secret of a Twilio account must not be empty'
            USING ERRCODE = 'PT422';
    END IF;
    IF coalesce(p_account_sid, '') !~ '^[A-Za-z0-9]{2,64}$' THEN
        RAISE EXCEPTION 'invalid account SID'
            USING ERRCODE = 'PT422', DETAIL = 'An account SID consists of letters and digits and begins with AC.';
    END IF;
    IF coalesce(p_base_url, '') !~ '^https?://[^/?#@[:space:][:cntrl:]]+(/[^?#[:space:][:cntrl:]]*)?$' THEN
        RAISE EXCEPTION 'invalid base URL'
            USING ERRCODE = 'PT422', DETAIL = 'It must be http or https with a host, and without user name, query and fragment.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_twilio_account(text, text, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.create_twilio_account(
    name text, account_sid text, secret text, base_url text DEFAULT 'https://api.twilio.com')
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM reflex_internal.check_twilio_account($1, $2, $3, $4);
    INSERT INTO reflex_internal.twilio_account (name, account_sid, secret, base_url, owner)
    VALUES ($1, $2, $3, rtrim($4, '/'), reflex_internal.caller())
    ON CONFLICT (name) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'twilio account "%" already exists', $1
            USING ERRCODE = 'PT409', HINT = 'Change it with reflex.alter_twilio_account.';
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.create_twilio_account(text, text, text, text) IS
'Makes a Twilio account known under a name. secret is the name of the secret (reflex.set_secret) with its auth token. PT409: the name is taken. PT422: an argument is not valid.';
REVOKE ALL ON FUNCTION reflex.create_twilio_account(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.create_twilio_account(text, text, text, text) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.alter_twilio_account(
    name text, account_sid text DEFAULT NULL, secret text DEFAULT NULL, base_url text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_account reflex_internal.twilio_account;
BEGIN
    UPDATE reflex_internal.twilio_account a
    SET account_sid = coalesce($2, a.account_sid),
        secret = coalesce($3, a.secret),
        base_url = coalesce(rtrim($4, '/'), a.base_url),
        updated_at = now()
    WHERE a.name = $1
    RETURNING a.* INTO v_account;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'twilio account "%" does not exist', $1 USING ERRCODE = 'PT404';
    END IF;
    PERFORM reflex_internal.check_twilio_account(
        v_account.name, v_account.account_sid, v_account.secret, v_account.base_url);
END
$$;
COMMENT ON FUNCTION reflex.alter_twilio_account(text, text, text, text) IS
'Changes what is given of a Twilio account; null leaves it. PT404: there is none of this name. PT422: an argument is not valid.';
REVOKE ALL ON FUNCTION reflex.alter_twilio_account(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.alter_twilio_account(text, text, text, text) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.drop_twilio_account(name text)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM reflex_internal.twilio_account a WHERE a.name = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'twilio account "%" does not exist', $1 USING ERRCODE = 'PT404';
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.drop_twilio_account(text) IS
'Forgets a Twilio account. Effects that still name it fail. PT404: there is none of this name.';
REVOKE ALL ON FUNCTION reflex.drop_twilio_account(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.drop_twilio_account(text) TO reflex_admin;

CREATE OR REPLACE VIEW reflex.twilio_accounts AS
SELECT a.name, a.account_sid, a.secret, a.base_url, a.owner, a.created_at, a.updated_at
FROM reflex_internal.twilio_account a;
COMMENT ON VIEW reflex.twilio_accounts IS 'The Twilio accounts; secret is the name of a secret.';
REVOKE ALL ON reflex.twilio_accounts FROM PUBLIC;
GRANT SELECT ON reflex.twilio_accounts TO reflex_admin, reflex_monitor;
