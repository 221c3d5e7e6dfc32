-- The log and its delivery, as one session sees them.
\set SHOW_CONTEXT never
SELECT reflex.version();

-- publishing: ids say what they are, positions go up
SELECT reflex.subscribe('all', start_at => 'beginning');
SELECT kind, node, seq > 0 AS has_seq FROM reflex_internal.id_parts(reflex.publish('order.paid', '{"n": 1}'));
SELECT count(*) FROM reflex.publish_many('[{"type": "order.paid", "payload": {"n": 2}},
  {"type": "order.sent", "payload": {"n": 3}, "source": "shop", "session": "s1", "meta": {"k": "v"}}]');
SELECT type, source, session, payload, meta, attempt FROM reflex.receive('all', 10);
SELECT count(*) FROM reflex.receive('all', 10);

-- bad input changes nothing
SELECT reflex.publish(NULL);
SELECT reflex.publish('');
SELECT reflex.publish(repeat('x', 256));
SELECT reflex.publish('a', '{}', meta => '[]');
SELECT reflex.publish('a', to_jsonb(repeat('x', 2000000)));
SELECT reflex.publish('a', dedupe_key => '');
SELECT reflex.publish('a', deliver_at => 'infinity');
SELECT reflex.publish_many('[{"type": "a", "deliver_at": "soon"}]');
SELECT reflex.publish_many('{"type": "a"}');
SELECT reflex.publish_many('[{"type": "a"}, 5]');
SELECT reflex.publish_many('[{"type": "a"}, {"payload": 1}]');
SELECT reflex.publish_many('[{"type": "a", "paylod": 1}]');
SELECT reflex.publish_many('[{"type": 1}]');
SELECT count(*) FROM reflex.receive('all', 10);

-- settings of a subscription
SELECT reflex.subscribe('');
SELECT reflex.subscribe('reflex.mine');
SELECT reflex.subscribe('rule:mine');
SELECT reflex.subscribe('b', types => ARRAY['x', NULL]);
SELECT reflex.subscribe('b', max_attempts => 0);
SELECT reflex.subscribe('b', retry_base_delay => '-1 s');
SELECT reflex.subscribe('b', start_at => 'yesteryear');
SELECT reflex.subscribe('all', ordered => true);
SELECT reflex.subscribe('b', filter => '{"types": []}');
SELECT reflex.unsubscribe('nobody');
SELECT * FROM reflex.receive('nobody');
SELECT * FROM reflex.receive('reflex.rules');
SELECT * FROM reflex.receive('all', 0);
SELECT * FROM reflex.receive('all', lease => '-1 s');
SELECT * FROM reflex.receive('all', lease => '25 h');
SELECT * FROM reflex.receive('all', wait => '61 s');
SELECT * FROM reflex.receive('all', wait => '20 ms');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM reflex.receive('all');
ROLLBACK;

-- types: exact and by a trailing .*
SELECT reflex.subscribe('orders', types => ARRAY['order.*', 'refund']);
SELECT count(*) FROM reflex.publish_many('[{"type": "order.paid"}, {"type": "orders"}, {"type": "order"},
  {"type": "refund"}, {"type": "refund.x"}, {"type": "order.x.y"}]');
SELECT type FROM reflex.receive('orders', 10);
SELECT reflex.unsubscribe('orders');
SELECT * FROM reflex.receive('orders', 10);

-- ack: once, by token; nonsense is just not good
SELECT reflex.subscribe('w');
SELECT count(*) FROM reflex.publish_many('[{"type": "a"}, {"type": "b"}, {"type": "c"}, {"type": "d"}]');
CREATE TEMP TABLE got AS SELECT * FROM reflex.receive('w', 10);
SELECT reflex.ack(token) FROM got WHERE type = 'a';
SELECT reflex.ack(token) FROM got WHERE type = 'a';
SELECT reflex.ack('nonsense'), reflex.ack(repeat('A', 32)), reflex.nack('nonsense'), reflex.extend('nonsense', '1 s');
SELECT reflex.ack(ARRAY[NULL, 'x']), reflex.ack('{}'::text[]);
-- rolled back: the lease stands again
BEGIN;
SELECT reflex.ack(token) FROM got WHERE type = 'b';
ROLLBACK;
SELECT reflex.ack(token) FROM got WHERE type = 'b';
-- so does a savepoint
BEGIN;
SAVEPOINT s;
SELECT reflex.ack(token) FROM got WHERE type = 'c';
ROLLBACK TO s;
SELECT reflex.ack(token) FROM got WHERE type = 'c';
COMMIT;
SELECT reflex.ack(array_agg(token)) FROM got;

-- receiving and rolling back gives back, uncounted
SELECT reflex.publish('e') IS NOT NULL;
BEGIN;
SELECT type, attempt FROM reflex.receive('w', 10);
ROLLBACK;
SELECT type, attempt FROM reflex.receive('w', 10);
-- one's own uncommitted events are not received
BEGIN;
SELECT reflex.publish('f') IS NOT NULL;
SELECT type FROM reflex.receive('w', 10);
COMMIT;
SELECT type FROM reflex.receive('w', 10);

-- nack: retry, then dead letter with its history
SELECT reflex.subscribe('n', max_attempts => 3);
SELECT reflex.publish('g', '{"bad": true}') IS NOT NULL;
SELECT reflex.nack(token, 'first', '0') FROM reflex.receive('n');
SELECT reflex.nack(token, 'second', '0') FROM reflex.receive('n');
SELECT attempt, reflex.nack(token, 'third', '0') FROM reflex.receive('n');
SELECT count(*) FROM reflex.receive('n');
SELECT subscription, type, payload, attempts, error,
       jsonb_path_query_array(errors, '$[*].error') AS errors FROM reflex.dlq_list('n');
-- rolled back: still out
SELECT reflex.publish('h') IS NOT NULL;
CREATE TEMP TABLE h AS SELECT * FROM reflex.receive('n');
BEGIN;
SELECT reflex.nack(token, 'no', '0') FROM h;
ROLLBACK;
SELECT count(*) FROM reflex.receive('n');
SELECT reflex.ack(token) FROM h;

-- working dead letters
SELECT reflex.dlq_retry('00000000-0000-7000-8000-000000000000');
DO $$ BEGIN PERFORM reflex.dlq_retry(event_id, 'all') FROM reflex.dlq_list('n');
EXCEPTION WHEN SQLSTATE 'PT404' THEN RAISE NOTICE 'none'; END $$;
SELECT reflex.dlq_retry(event_id) FROM reflex.dlq_list('n');
SELECT count(*) FROM reflex.dlq_list('n');
SELECT type, attempt, reflex.nack(token, 'again', '0') FROM reflex.receive('n');
SELECT type, attempt, reflex.ack(token) FROM reflex.receive('n');
SELECT reflex.publish('i') IS NOT NULL;
SELECT reflex.nack(token, 'x', '0') FROM reflex.receive('n');
SELECT reflex.nack(token, 'y', '0') FROM reflex.receive('n');
SELECT reflex.nack(token, 'z', '0') FROM reflex.receive('n');
SELECT reflex.dlq_purge('n', '00000000-0000-7000-8000-000000000000'), reflex.dlq_purge('n');
SELECT count(*) FROM reflex.dlq_list();

-- a lease that lapses counts, and its token is worth nothing then
SELECT reflex.subscribe('l', max_attempts => 2);
SELECT reflex.publish('j') IS NOT NULL;
CREATE TEMP TABLE j AS SELECT * FROM reflex.receive('l', lease => '1 s');
CREATE FUNCTION clock_advance(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance';
SELECT reflex.extend(token, '10 s') FROM j;
SELECT clock_advance(2000000);
SELECT count(*) FROM reflex.receive('l');
SELECT clock_advance(9000000);
CREATE TEMP TABLE j2 AS SELECT * FROM reflex.receive('l', lease => '1 s');
SELECT type, attempt FROM j2;
SELECT reflex.ack(token) FROM j;
SELECT clock_advance(2000000);
SELECT count(*) FROM reflex.receive('l');
-- (the worker may have been faster than receive, and not have committed yet)
DO $$ BEGIN
  FOR i IN 1 .. 1000 LOOP
    EXIT WHEN EXISTS (SELECT FROM reflex.dlq_list('l'));
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT type, attempts, error FROM reflex.dlq_list('l');
SELECT reflex.ack(token) FROM j2;

-- replay: by time, type, session; half-open
SELECT count(*) > 10 AS many FROM reflex.replay('-infinity');
SELECT type, payload FROM reflex.replay('-infinity', types => ARRAY['order.*'], session => 's1');
SELECT count(*) FROM reflex.replay('infinity');
SELECT count(*) FROM reflex.replay('-infinity', '-infinity');
SELECT count(*) FROM reflex.replay(now());

-- fan-out, and starting from a time
SELECT reflex.subscribe('late', start_at => now()::text);
SELECT reflex.publish('k') IS NOT NULL;
SELECT type FROM reflex.receive('late', 10);
SELECT type FROM reflex.receive('l', 10);

-- pausing, and moving along the log
SELECT reflex.pause('nobody');
SELECT reflex.rewind('nobody', now());
SELECT reflex.rewind('late', '00000000-0000-7000-8000-000000000000'::uuid);
SELECT reflex.rewind('reflex.rules', now());
SELECT reflex.publish('p1') AS p1 \gset
SELECT reflex.publish('p2') AS p2 \gset
SELECT reflex.pause('late');
SELECT type FROM reflex.receive('late', 10, wait => '10 ms');
SELECT reflex.resume('late');
SELECT type, reflex.ack(token) FROM reflex.receive('late', 10);
SELECT reflex.rewind('late', :'p2'::uuid);
SELECT type, attempt FROM reflex.receive('late', 10);
SELECT reflex.rewind('late', '-infinity'::timestamptz);
SELECT count(*) > 10 AS many FROM reflex.receive('late', 1000);
SELECT reflex.skip_to('late', :'p1'::uuid);
SELECT type, attempt FROM reflex.receive('late', 1);
SELECT reflex.rewind('late', 'tomorrowish');
SELECT reflex.rewind('late', :'p2');
SELECT type FROM reflex.receive('late', 10);
SELECT reflex.skip_to('late', clock_timestamp());
SELECT type FROM reflex.receive('late', 10);
SELECT reflex.publish('p3') IS NOT NULL;
SELECT type FROM reflex.receive('late', 10);

-- what can't be: two-phase commit of a publisher
BEGIN;
SELECT reflex.publish('m') IS NOT NULL;
PREPARE TRANSACTION 'p';

-- who may
CREATE ROLE nobody_special;
CREATE ROLE event_app IN ROLE reflex_app;
SET ROLE nobody_special;
SELECT reflex.publish('x');
RESET ROLE;
SET ROLE event_app;
SELECT reflex.publish('x') IS NOT NULL;
SELECT reflex.dlq_purge();
SELECT * FROM reflex_internal.event;
RESET ROLE;
SELECT role FROM reflex.replay('-infinity', types => ARRAY['x']);
DROP ROLE nobody_special, event_app;

-- a new life of the extension starts clean
SELECT token AS old_token FROM reflex.receive('w', 1) \gset
DROP EXTENSION reflex CASCADE;
SELECT count(*) FROM pg_class WHERE relname ~ '^(event|effect|delivery)';
CREATE EXTENSION reflex;
SELECT reflex.subscribe('w', start_at => 'beginning');
SELECT reflex.ack(:'old_token');
SELECT count(*) FROM reflex.receive('w', 10);
SELECT reflex.publish('n') IS NOT NULL;
SELECT type, seq FROM reflex.receive('w', 10);
