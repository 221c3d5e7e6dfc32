-- Emitting: what is refused at once, and what is written.
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.try(kind text, payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_detail text;
BEGIN
    PERFORM reflex.emit(kind, payload);
    RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
    RETURN concat(SQLSTATE, ': ', coalesce(nullif(v_detail, ''), SQLERRM));
END
$$;
SELECT kind FROM reflex.effect_kinds ORDER BY kind COLLATE "C";

SELECT reflex.emit('carrier.pigeon', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT reflex.emit(NULL, '{}');
SELECT reflex.emit('http', NULL);
SELECT reflex.emit('http', '{"url": "http://127.0.0.1/"}', dedupe_key => 'k');
\echo :LAST_ERROR_SQLSTATE
SELECT reflex.emit('http', '{"url": "http://127.0.0.1/"}', deliver_at => now());

-- shapes; nothing that is taken here is ever sent
BEGIN;
SELECT payload, pg_temp.try('http', payload::jsonb) FROM (VALUES
    ('[]'), ('"text"'), ('{}'), ('{"url": 1}'), ('{"url": ""}'),
    ('{"url": "ftp://example.com/"}'), ('{"url": "file:///etc/passwd"}'), ('{"url": "http://"}'),
    ('{"url": "http:///path"}'), ('{"url": "example.com"}'),
    ('{"url": "http://example.com/a b"}'), ('{"url": "http://example.com/\r\nX: y"}'),
    ('{"url": "http://user:password@example.com/"}'), ('{"url": "HTTPS://example.com/@a"}'),
    ('{"url": "http://example.com", "method": "post"}'), ('{"url": "http://example.com", "method": "BREW"}'),
    ('{"url": "http://example.com", "method": 1}'), ('{"url": "http://example.com", "method": null}'),
    ('{"url": "http://example.com", "headers": []}'), ('{"url": "http://example.com", "headers": "X: y"}'),
    ('{"url": "http://example.com", "headers": {"X-A": "b", "Content-Type": "text/csv"}}'),
    ('{"url": "http://example.com", "headers": {"X-A": 1}}'), ('{"url": "http://example.com", "headers": {"X-A": null}}'),
    ('{"url": "http://example.com", "headers": {"X A": "b"}}'), ('{"url": "http://example.com", "headers": {"": "b"}}'),
    ('{"url": "http://example.com", "headers": {"X-A": "b\r\nX-B: c"}}'),
    ('{"url": "http://example.com", "headers": {"X-A": "b\nX-B: c"}}'),
    ('{"url": "http://example.com", "headers": {"Content-length": "3"}}'),
    ('{"url": "http://example.com", "headers": {"Transfer-Encoding": "chunked"}}'),
    ('{"url": "http://example.com", "headers": {"Host": "elsewhere"}}'),
    ('{"url": "http://example.com", "headers": {"idempotency-key": "mine"}}'),
    ('{"url": "http://example.com", "headers": {"User-Agent": "mine"}}'),
    ('{"url": "http://example.com", "body": "text"}'), ('{"url": "http://example.com", "body": [1, null]}'),
    ('{"url": "http://example.com", "auth": {"type": "bearer", "secret": "other"}}'),
    ('{"url": {"secret": "other"}}')) AS v (payload);
SELECT payload, pg_temp.try('slack', payload::jsonb) FROM (VALUES
    ('{"webhook": "w", "text": "t"}'), ('{"webhook": "w", "blocks": []}'), ('{"webhook": "w"}'), ('{"text": "t"}'),
    ('{"webhook": "w", "text": 1}'), ('{"webhook": "w", "blocks": {}}'), ('{"webhook": "w", "text": "t", "channel": "c"}')) AS v (payload);
SELECT payload, pg_temp.try('twilio.message', payload::jsonb) FROM (VALUES
    ('{"account": "a", "to": "t", "from": "f", "body": "b"}'),
    ('{"account": "a", "to": "t", "from": "f", "content_sid": "HX0", "content_variables": {"1": "x"}}'),
    ('{"account": "a", "to": "t", "from": "f"}'), ('{"account": "a", "to": "t", "body": "b"}'),
    ('{"account": "a", "from": "f", "body": "b"}'), ('{"to": "t", "from": "f", "body": "b"}'),
    ('{"account": "a", "to": "t", "from": "f", "body": "b", "content_variables": [1]}')) AS v (payload);
ROLLBACK;

-- written with the transaction or not at all, with its session and trace
BEGIN;
SET LOCAL reflex.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SET LOCAL ROLE reflex_app;
SELECT reflex.emit('http', '{"url": "http://127.0.0.1:9/"}', 'effect.sql') AS id \gset
SELECT id = :'id' AS same, kind, session, state, attempts, last_status, last_error, answer
FROM reflex.effects WHERE session = 'effect.sql';
RESET ROLE;
SELECT type, session, role, payload, meta FROM reflex_internal.effect WHERE session = 'effect.sql';
ROLLBACK;
SELECT count(*) FROM reflex.effects WHERE session = 'effect.sql';

-- tables are out of reach
SET ROLE reflex_app;
SELECT * FROM reflex_internal.effect_attempt;
SELECT reflex_internal.emit_effect('http', '{}');
RESET ROLE;

-- Twilio accounts
SELECT reflex.create_twilio_account('main', 'AC0123456789abcdef0123456789abcdef', 'twilio');
SELECT reflex.create_twilio_account('main', 'AC0123456789abcdef0123456789abcdef', 'twilio');
\echo :LAST_ERROR_SQLSTATE
SELECT reflex.create_twilio_account('bad', 'AC/../x', 'twilio');
SELECT reflex.create_twilio_account('bad', 'AC01', '');
SELECT reflex.create_twilio_account('bad', 'AC01', 'twilio', 'https://user@api.twilio.com');
SELECT reflex.create_twilio_account('bad', 'AC01', 'twilio', 'ftp://api.twilio.com');
SELECT reflex.create_twilio_account('bad', 'AC01', 'twilio', 'https://api.twilio.com/?x');
\echo :LAST_ERROR_SQLSTATE
SELECT reflex.alter_twilio_account('main', base_url => 'http://127.0.0.1:4010/');
SELECT reflex.alter_twilio_account('main', base_url => 'nowhere');
SELECT reflex.alter_twilio_account('none', secret => 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT name, account_sid, secret, base_url FROM reflex.twilio_accounts;
SELECT reflex_internal.twilio_message_request(NULL, NULL,
    '{"account": "main", "to": "whatsapp:+1", "from": "whatsapp:+2", "content_sid": "HX0", "content_variables": {"1": "x"}}');
SELECT reflex_internal.twilio_message_request(NULL, NULL, '{"account": "none"}');
SET ROLE reflex_app;
SELECT reflex.create_twilio_account('app', 'AC01', 'twilio');
RESET ROLE;
SELECT reflex.drop_twilio_account('main');
SELECT reflex.drop_twilio_account('main');
\echo :LAST_ERROR_SQLSTATE

-- what Twilio's answers mean
SELECT status, body, reflex_internal.twilio_outcome(NULL, NULL, '{}',
    jsonb_build_object('status', status, 'headers', '{}'::jsonb, 'body', body)) AS verdict
FROM (VALUES (201, '{"sid": "SM1"}'), (429, '{"code": 20429, "message": "m"}'), (429, ''), (429, '{"code":60202}'),
    (400, '{"code": 21211}'), (401, '{"code" : 20003}'), (400, '{"code": 21611}'), (503, '<html>'), (404, '"code": "x"')) AS v (status, body);
