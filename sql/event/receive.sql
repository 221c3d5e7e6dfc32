-- Receiving and settling.

CREATE OR REPLACE FUNCTION reflex.receive(
    subscription text,
    max integer DEFAULT 1,
    lease interval DEFAULT '30 s',
    wait interval DEFAULT '0')
RETURNS TABLE (token text, event_id uuid, type text, source text, session text, seq bigint,
               payload jsonb, meta jsonb, attempt integer, created_at timestamptz)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'reflex_receive';
COMMENT ON FUNCTION reflex.receive(text, integer, interval, interval) IS
'Hands out up to max events of a subscription, each leased to the caller: unless it is acked, nacked or extended '
'within the lease it is handed out again, as the next attempt. Writes nothing. If the transaction aborts, the events are given back at once, uncounted. '
'max: 1 to 100000. lease: 1 ms to 24 h. wait: when there is nothing, so long at most until there is, up to 60 s; '
'the statement holds back xmin while it waits. '
'Errors: PT404 no such subscription, PT403 one of reflex''s own, 22023 out of range, '
'0A000 in REPEATABLE READ and SERIALIZABLE.';
REVOKE ALL ON FUNCTION reflex.receive(text, integer, interval, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.ack(token text) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_ack';
COMMENT ON FUNCTION reflex.ack(text) IS
'Settles one event when this transaction commits. False, and nothing is changed, when the token is no longer good: '
'settled before, lease handed on, or the server was restarted; a consumer that then rolls back processes each event exactly once.';
REVOKE ALL ON FUNCTION reflex.ack(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.ack(tokens text[]) RETURNS integer
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_ack_many';
COMMENT ON FUNCTION reflex.ack(text[]) IS
'Settles many events with one record when this transaction commits; returns how many tokens were good.';
REVOKE ALL ON FUNCTION reflex.ack(text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.nack(token text, error text DEFAULT NULL, delay interval DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_nack';
COMMENT ON FUNCTION reflex.nack(text, text, interval) IS
'Reports that processing failed, when this transaction commits: the event comes again after the delay (null: exponential backoff with full jitter), '
'or becomes a dead letter with its last attempt. error: kept with the attempt. False when the token is no longer good. '
'Errors: 22023 delay out of range.';
REVOKE ALL ON FUNCTION reflex.nack(text, text, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.extend(token text, lease interval) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'reflex_extend';
COMMENT ON FUNCTION reflex.extend(text, interval) IS
'Renews a lease from now on, at once and whatever becomes of the transaction; never shortens it. Events handed out by one call share '
'their lease, so extending one extends its neighbours. False when the token is no longer good. Errors: 22023 lease out of range.';
REVOKE ALL ON FUNCTION reflex.extend(text, interval) FROM PUBLIC;
