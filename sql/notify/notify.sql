-- Contacts, channels, and telling somebody something.
--
-- A notification is one WhatsApp message so far: a row here and one effect of
-- kind twilio.message, in the caller's transaction.  Stages, policies and
-- answers come with the escalation; the arguments that belong to them are
-- there and refused.

-- An E.164 number with or without the prefix that Twilio wants for WhatsApp.
CREATE OR REPLACE FUNCTION reflex_internal.check_phone(p_phone text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_phone !~ '^\+[1-9][0-9]{6,14}$' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'invalid phone number',
            HINT = 'Write it in E.164 form: "+", the country code and the number, 7 to 15 digits, as in +493012345678.';
    END IF;
    RETURN p_phone;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_phone(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.create_contact(contact text, phone text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_name('contact', create_contact.contact);
    INSERT INTO reflex_internal.contact (name, phone, owner)
    VALUES (create_contact.contact, reflex_internal.check_phone(create_contact.phone), reflex_internal.caller());
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION USING ERRCODE = 'PT409',
        MESSAGE = format('contact "%s" already exists', create_contact.contact),
        HINT = 'Use reflex.update_contact to change it.';
END
$$;
COMMENT ON FUNCTION reflex.create_contact(text, text) IS
'Names somebody who can be notified. phone: in E.164 form. PT409 when the contact exists, PT422 for an invalid name or number.';
REVOKE ALL ON FUNCTION reflex.create_contact(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.create_contact(text, text) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.update_contact(contact text, phone text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE reflex_internal.contact AS c
    SET phone = coalesce(reflex_internal.check_phone(update_contact.phone), c.phone)
    WHERE c.name = update_contact.contact;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('contact "%s" does not exist', update_contact.contact);
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.update_contact(text, text) IS
'Changes the named arguments of a contact; null leaves a value as it is. PT404 when there is none, PT422 for an invalid number.';
REVOKE ALL ON FUNCTION reflex.update_contact(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.update_contact(text, text) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.delete_contact(contact text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM reflex_internal.contact AS c WHERE c.name = delete_contact.contact;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('contact "%s" does not exist', delete_contact.contact);
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.delete_contact(text) IS
'Removes a contact; what was sent stays on record. PT404 when there is none.';
REVOKE ALL ON FUNCTION reflex.delete_contact(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.delete_contact(text) TO reflex_admin;

CREATE OR REPLACE VIEW reflex.contacts AS
SELECT c.name AS contact, c.phone, c.owner, c.created_at FROM reflex_internal.contact AS c;
COMMENT ON VIEW reflex.contacts IS 'Who can be notified';
GRANT SELECT ON reflex.contacts TO reflex_admin;

-- {"account": name, "from": E.164 number}.
CREATE OR REPLACE FUNCTION reflex_internal.check_channel(p_config jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_typeof(p_config) IS DISTINCT FROM 'object'
       OR jsonb_typeof(p_config -> 'account') IS DISTINCT FROM 'string'
       OR jsonb_typeof(p_config -> 'from') IS DISTINCT FROM 'string'
       OR p_config - ARRAY['account', 'from'] <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'config of a twilio.whatsapp channel must be {"account": name, "from": number}';
    END IF;
    PERFORM reflex_internal.check_phone(p_config ->> 'from');
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.check_channel(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.create_channel(name text, kind text, config jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM reflex_internal.check_name('channel', create_channel.name);
    IF create_channel.kind IS DISTINCT FROM 'twilio.whatsapp' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = format('channel kind "%s" is not supported', create_channel.kind),
            DETAIL = 'Supported is: twilio.whatsapp.';
    END IF;
    PERFORM reflex_internal.check_channel(create_channel.config);
    INSERT INTO reflex_internal.channel (name, kind, config, owner)
    VALUES (create_channel.name, create_channel.kind, create_channel.config, reflex_internal.caller());
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION USING ERRCODE = 'PT409',
        MESSAGE = format('channel "%s" already exists', create_channel.name),
        HINT = 'Use reflex.alter_channel to change it.';
END
$$;
COMMENT ON FUNCTION reflex.create_channel(text, text, jsonb) IS
'Names a way to reach contacts. kind: twilio.whatsapp. config: {"account": name of a Twilio account, "from": sender in E.164 form}. PT409 when the channel exists, PT422 for invalid arguments.';
REVOKE ALL ON FUNCTION reflex.create_channel(text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.create_channel(text, text, jsonb) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.alter_channel(name text, config jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF alter_channel.config IS NOT NULL THEN
        PERFORM reflex_internal.check_channel(alter_channel.config);
    END IF;
    UPDATE reflex_internal.channel AS c SET config = coalesce(alter_channel.config, c.config)
    WHERE c.name = alter_channel.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('channel "%s" does not exist', alter_channel.name);
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.alter_channel(text, jsonb) IS
'Changes the configuration of a channel; null leaves it as it is. PT404 when there is none, PT422 for an invalid one.';
REVOKE ALL ON FUNCTION reflex.alter_channel(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.alter_channel(text, jsonb) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.drop_channel(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM reflex_internal.channel AS c WHERE c.name = drop_channel.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404',
            MESSAGE = format('channel "%s" does not exist', drop_channel.name);
    END IF;
END
$$;
COMMENT ON FUNCTION reflex.drop_channel(text) IS 'Removes a channel. PT404 when there is none.';
REVOKE ALL ON FUNCTION reflex.drop_channel(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.drop_channel(text) TO reflex_admin;

CREATE OR REPLACE VIEW reflex.channels AS
SELECT c.name, c.kind, c.config, c.owner, c.created_at FROM reflex_internal.channel AS c;
COMMENT ON VIEW reflex.channels IS 'The ways to reach contacts';
GRANT SELECT ON reflex.channels TO reflex_admin, reflex_monitor;

-- The channel that is meant when none is named: the only one, or "default".
CREATE OR REPLACE FUNCTION reflex_internal.default_channel() RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_config jsonb;
    v_count bigint;
BEGIN
    SELECT c.config, count(*) OVER () INTO v_config, v_count
    FROM reflex_internal.channel AS c ORDER BY c.name = 'default' DESC, c.name LIMIT 1;
    IF v_config IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404', MESSAGE = 'there is no channel to notify through',
            HINT = 'Create one with reflex.create_channel, or give account and sender.';
    ELSIF v_count > 1 AND NOT EXISTS (SELECT FROM reflex_internal.channel AS c WHERE c.name = 'default') THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'there are several channels to notify through',
            HINT = 'Name one of them "default", or give account and sender.';
    END IF;
    RETURN v_config;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.default_channel() FROM PUBLIC;

-- The number of a contact, and what keeps it from being used.
CREATE OR REPLACE FUNCTION reflex_internal.contact_phone(p_contact text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_phone text;
BEGIN
    SELECT c.phone INTO v_phone FROM reflex_internal.contact AS c WHERE c.name = p_contact;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PT404', MESSAGE = format('contact "%s" does not exist', p_contact),
            HINT = 'Create it with reflex.create_contact.';
    ELSIF v_phone IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = format('contact "%s" has no phone number', p_contact),
            HINT = 'Give it one with reflex.update_contact.';
    END IF;
    RETURN v_phone;
END
$$;
REVOKE ALL ON FUNCTION reflex_internal.contact_phone(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.notify(
    contact text, policy text DEFAULT NULL, title text DEFAULT NULL, body text DEFAULT NULL,
    due_at timestamptz DEFAULT NULL, account text DEFAULT NULL, sender text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_phone text;
    v_channel jsonb;
    v_text text := concat_ws(E'\n', nullif(notify.title, ''), nullif(notify.body, ''));
    v_number bigint;
    v_now timestamptz := clock_timestamp();
    v_id uuid;
BEGIN
    IF policy IS NOT NULL OR due_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = format('%s of notify is not yet supported',
                CASE WHEN policy IS NOT NULL THEN 'policy' ELSE 'due_at' END);
    END IF;
    v_phone := reflex_internal.contact_phone(notify.contact);
    IF v_text = '' OR length(v_text) > 1600 THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'title and body together must have 1 to 1600 characters',
            DETAIL = format('They have %s.', length(v_text));
    END IF;
    IF account IS NULL OR sender IS NULL THEN
        v_channel := reflex_internal.default_channel();
    END IF;
    v_channel := jsonb_build_object('account', coalesce(notify.account, v_channel ->> 'account'),
        'from', reflex_internal.check_phone(coalesce(notify.sender, v_channel ->> 'from')));
    v_number := nextval('reflex_internal.notification_number');
    v_id := reflex_internal.make_id(6, v_number, v_now);
    INSERT INTO reflex_internal.notification
        (id, number, contact, title, body, account, sender, effect, role, created_at)
    VALUES (v_id, v_number, notify.contact, notify.title, notify.body, v_channel ->> 'account',
            v_channel ->> 'from',
            reflex.emit('twilio.message', jsonb_build_object(
                'account', v_channel ->> 'account', 'from', 'whatsapp:' || (v_channel ->> 'from'),
                'to', 'whatsapp:' || v_phone, 'body', v_text)),
            reflex_internal.caller(), v_now);
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION reflex.notify(text, text, text, text, timestamptz, text, text) IS
'Tells a contact something, by WhatsApp, after commit; returns the id of the notification. title and body: up to 1600 characters together. account, sender: Twilio account and number to send from; by default those of the channel. policy and due_at raise 0A000. PT404 when the contact or a channel is missing, PT422 when it has no phone number or there is nothing to say.';
REVOKE ALL ON FUNCTION reflex.notify(text, text, text, text, timestamptz, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.notify(text, text, text, text, timestamptz, text, text) TO reflex_admin, reflex_app;

-- What became of all effects, whoever emitted them: those of notifications are
-- emitted by reflex itself.
CREATE OR REPLACE FUNCTION reflex_internal.effect_states()
RETURNS TABLE (id uuid, state text, attempts int, last_error text, updated_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.id, e.state, e.attempts, e.last_error, e.updated_at FROM reflex.effects AS e
$$;
REVOKE ALL ON FUNCTION reflex_internal.effect_states() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex_internal.effect_states() TO reflex_admin, reflex_app;

CREATE OR REPLACE VIEW reflex.notifications WITH (security_barrier) AS
SELECT n.id, n.contact, n.title, n.body, n.account, n.sender, n.role, n.effect, e.state, e.attempts,
       e.last_error, n.created_at, e.updated_at
FROM reflex_internal.notification AS n
LEFT JOIN reflex_internal.effect_states() AS e ON e.id = n.effect
WHERE reflex_internal.may_see(n.role);
COMMENT ON VIEW reflex.notifications IS
'The notifications that the caller has caused, all of them for reflex_admin, with the state of what was sent';
GRANT SELECT ON reflex.notifications TO reflex_admin, reflex_app;
