-- Ordered subscriptions: of each session, one event is out at a time.
\set SHOW_CONTEXT never
CREATE FUNCTION ordered_advance(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance';
CREATE FUNCTION pub(names text[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(reflex.publish(n, session => nullif(left(n, 1), '-'))) FROM unnest(names) n $$;
-- what comes, and how it is settled: + ack, - nack at once, ~ nack later, anything else nothing
CREATE FUNCTION take(n int, how text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v text;
    r record;
BEGIN
    FOR r IN SELECT * FROM reflex.receive('o', n, '1 h') LOOP
        v := concat_ws(' ', v, r.type || CASE WHEN r.attempt > 1 THEN '(' || r.attempt || ')' ELSE '' END);
        IF how = '+' THEN PERFORM reflex.ack(r.token);
        ELSIF how = '-' THEN PERFORM reflex.nack(r.token, 'no', '0');
        ELSIF how = '~' THEN PERFORM reflex.nack(r.token, 'no', '1 h');
        END IF;
    END LOOP;
    RETURN v;
END $$;
SELECT reflex.subscribe('o', ordered => true, max_attempts => 2);
SELECT reflex.subscribe('o', ordered => false);
SELECT pub('{a1,b1,a2,-1,a3,b2,-2,c1}');
-- the first of each session, and all without one
SELECT take(10, '+');
SELECT take(10, '+');
SELECT take(10, '+');
SELECT take(10, '+');
-- one at a time
SELECT pub('{a1,a2,b1}');
SELECT take(1, ' ');
SELECT take(1, '+');
SELECT take(1, '+');
SELECT ordered_advance(3601000000);
SELECT take(1, '+');
SELECT take(1, '+');
SELECT take(1, '+');
-- the session of a failed one waits with it, others go on
SELECT pub('{a1,a2,b1,b2}');
SELECT take(1, '~');
SELECT take(10, '+');
SELECT take(10, '+');
SELECT take(10, '+');
SELECT ordered_advance(3601000000);
SELECT take(10, '+');
SELECT take(10, '+');
-- a dead one lets it go on
SELECT pub('{a1,a2}');
SELECT take(1, '-');
SELECT take(1, '-');
SELECT take(1, '+');
SELECT take(1, '+');
SELECT type, session, attempts FROM reflex.dlq_list('o');
-- put back while its session is busy: first when that is free
SELECT pub('{a3,a4}');
CREATE TEMP TABLE a3 AS SELECT token, type FROM reflex.receive('o', 1, '1 h');
SELECT reflex.dlq_retry(event_id) FROM reflex.dlq_list('o');
SELECT take(10, ' ');
SELECT type, reflex.ack(token) FROM a3;
SELECT take(10, '+');
SELECT take(10, '+');
SELECT take(10, '+');
-- rolled back: given back, and still in order
SELECT pub('{a1,a2,b1}');
BEGIN;
SELECT take(10, '+');
ROLLBACK;
SELECT take(1, '+');
SELECT take(1, '+');
SELECT take(1, '+');
SELECT take(1, '+');
-- sessions that end with it
SELECT pub('{a1,a2,a3}');
SELECT take(1, ' ');
SELECT reflex.unsubscribe('o');
SELECT reflex.subscribe('o', ordered => true);
SELECT pub('{a4,a5}');
SELECT take(10, '+');
SELECT take(10, '+');
SELECT take(10, '+');
SELECT reflex.dlq_purge('o');
