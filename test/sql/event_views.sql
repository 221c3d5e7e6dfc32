-- What flows, as the views show it: subscriptions, deliveries, stats.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION reflex CASCADE;
CREATE EXTENSION reflex;
CREATE OR REPLACE FUNCTION clock_advance(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance';
SELECT published, emitted, acked, failed, expired, dead FROM reflex.stats;
SELECT reflex.subscribe('v', max_attempts => 2, retry_base_delay => '1 h', retry_max_delay => '2 h');
SELECT reflex.subscribe('some', types => ARRAY['b.*'], start_at => 'now');
-- one in each transaction, so that they take one position each
DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['a.1', 'a.2', 'a.3', 'b.1', 'b.2', 'b.3'] LOOP
    PERFORM reflex.publish(t);
    COMMIT;
  END LOOP;
END $$;

-- nothing is read yet
CREATE VIEW lag AS SELECT subscription, lag_events, lag_seconds > 0 AS lags, oldest_unsettled IS NOT NULL AS unsettled,
    leases, retries, dead_letters FROM reflex.subscriptions WHERE NOT internal ORDER BY subscription;
SELECT * FROM lag;
SELECT subscription, log, internal, types, ordered, owner = current_user AS mine FROM reflex.subscriptions ORDER BY subscription;
CREATE VIEW status AS SELECT type, subscription, status, attempts, last_error, next_attempt_at > now() AS waits,
    processed_at >= created_at AS processed FROM reflex.deliveries
    WHERE subscription NOT LIKE 'reflex.%' ORDER BY seq, subscription;
SELECT type, subscription, status FROM status;

-- one of each kind
CREATE TEMP TABLE got AS SELECT * FROM reflex.receive('v', 4, '1 s');
SELECT * FROM lag;
SELECT reflex.ack(token) FROM got WHERE type = 'a.1';
SELECT reflex.nack(token, 'not now') FROM got WHERE type = 'a.2';
SELECT reflex.extend(token, '10 h') FROM got WHERE type = 'b.1';
SELECT * FROM status WHERE subscription = 'v';
SELECT * FROM lag WHERE subscription = 'v';
-- in a transaction that has not ended
BEGIN;
SELECT reflex.nack(token, 'no') FROM got WHERE type = 'a.3';
SELECT type, status, attempts FROM status WHERE type = 'a.3';
ROLLBACK;
-- the retry of a.2 fails: dead
SELECT clock_advance(3700000000);
SELECT type, attempt, reflex.nack(token, 'never') FROM reflex.receive('v', 1);
SELECT * FROM status WHERE type = 'a.2';
SELECT * FROM lag WHERE subscription = 'v';
-- the leases lapse: each event counts an attempt
SELECT clock_advance(36000000000);
SELECT type, attempt FROM reflex.receive('v', 2);
SELECT type, status, attempts FROM status WHERE type IN ('a.3', 'b.1') AND subscription = 'v';
-- put back, edited and done
SELECT reflex.dlq_retry(event_id, 'v') FROM reflex.dlq_list('v');
SELECT * FROM status WHERE type = 'a.2';
SELECT type, reflex.ack(token) FROM reflex.receive('v', 1);
SELECT * FROM status WHERE type = 'a.2';
-- one event
SELECT d.subscription, d.status FROM reflex.events e, reflex.deliveries_of(e.event_id) d
    WHERE e.type = 'b.2' AND d.subscription NOT LIKE 'reflex.%';
SELECT count(*) FROM reflex.deliveries_of('00000000-0000-7000-8000-000000000000');
-- what was published before is not for a later subscription
SELECT reflex.subscribe('later');
SELECT count(*) FROM status WHERE subscription = 'later';
SELECT lag_events FROM lag WHERE subscription = 'later';

-- counts; the rules' own reading is among delivered and acked
SELECT published, emitted, failed, expired, dead FROM reflex.stats;
BEGIN;
SELECT reflex.publish('c') IS NOT NULL;
ROLLBACK;
SELECT delivered, acked, failed, expired, dead FROM reflex.subscriptions WHERE subscription = 'v';
SELECT reflex.unsubscribe('v');
SELECT published, failed, expired, dead FROM reflex.stats;

-- reading is no delivery, and possible in any isolation level
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) > 0 AS some FROM reflex.subscriptions;
SELECT count(*) > 0 AS some FROM reflex.deliveries;
ROLLBACK;

-- what is delivered anew is pending, dead letter or not
SELECT reflex.subscribe('again', types => ARRAY['again'], max_attempts => 1);
SELECT reflex.publish('again') IS NOT NULL;
SELECT reflex.nack(token, 'x') FROM reflex.receive('again');
SELECT status FROM status WHERE subscription = 'again';
SELECT reflex.rewind('again', '-infinity'::timestamptz), reflex.pause('again');
SELECT status FROM status WHERE subscription = 'again';
SELECT paused, dead_letters FROM reflex.subscriptions WHERE subscription = 'again';
SELECT reflex.unsubscribe('again'), reflex.dlq_purge('again');

-- a new subscription from a point in time on: events from there, once
SELECT reflex.publish('t.1') IS NOT NULL;
SELECT pg_sleep(0.01);
SELECT reflex.publish('t.2') IS NOT NULL;
SELECT clock_timestamp() AS point \gset
SELECT pg_sleep(0.01);
SELECT reflex.publish('t.3') IS NOT NULL;
SELECT reflex.subscribe('from_point', start_at => :'point');
SELECT reflex.subscribe('from_event', start_at => (SELECT created_at::text FROM reflex.events WHERE type = 't.2'));
SELECT reflex.subscribe('from_always', types => ARRAY['t.*'], start_at => '-infinity');
SELECT reflex.publish('t.4') IS NOT NULL;
SELECT type, reflex.ack(token) FROM reflex.receive('from_point', 10);
SELECT type, reflex.ack(token) FROM reflex.receive('from_event', 10);
SELECT type, reflex.ack(token) FROM reflex.receive('from_always', 10);
SELECT count(*) FROM reflex.receive('from_point', 10);
SELECT type, status FROM status WHERE subscription = 'from_point';
SELECT reflex.publish('t.5') IS NOT NULL;
SELECT reflex.nack(token, 'not now', '1 h') FROM reflex.receive('from_point');

-- who may
CREATE ROLE views_monitor IN ROLE reflex_monitor;
CREATE ROLE views_app IN ROLE reflex_app;
SET ROLE views_monitor;
SELECT count(*) > 0 AS some FROM reflex.subscriptions;
SELECT count(*) > 0 AS some, count(last_error) > 0 AS errors, count(processed_at) > 0 AS times FROM reflex.deliveries;
SELECT count(*) > 0 AS some FROM reflex.events;
SELECT published > 0 AS some FROM reflex.stats;
SET ROLE views_app;
SELECT count(*) FROM reflex.deliveries;
RESET ROLE;
DROP ROLE views_monitor, views_app;
DROP EXTENSION reflex CASCADE;
DROP FUNCTION clock_advance;
CREATE EXTENSION reflex;
