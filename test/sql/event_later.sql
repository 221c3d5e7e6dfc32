-- Dedupe keys, and events that are due later.
\set SHOW_CONTEXT never
CREATE FUNCTION advance_us(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance';
CREATE FUNCTION advance(interval) RETURNS void LANGUAGE sql AS 'SELECT advance_us((extract(epoch FROM $1) * 1000000)::bigint)';
-- (the offset of this server's test clock, as the log has it)
CREATE FUNCTION test_now() RETURNS timestamptz LANGUAGE c AS 'reflex', 'reflex_test_now';
-- all that comes within ten seconds
CREATE FUNCTION arrives(n int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r record;
    v_seen int := 0;
BEGIN
    WHILE v_seen < n LOOP
        FOR r IN SELECT * FROM reflex.receive('s', n - v_seen, wait => '10 s') ORDER BY seq LOOP
            PERFORM reflex.ack(r.token);
            v_seen := v_seen + 1;
            RETURN NEXT r.type || ' ' || r.payload;
        END LOOP;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END LOOP;
END $$;
SELECT reflex.subscribe('s');

-- the same key: the first event's id, and nothing added
SELECT reflex.publish('a', '1', dedupe_key => 'k') AS first \gset
SELECT reflex.publish('b', '2', dedupe_key => 'k') = :'first' AS same;
SELECT reflex.publish('c', '3', dedupe_key => 'other') = :'first' AS same;
BEGIN;
SELECT reflex.publish('d', '4', dedupe_key => 'mine') AS mine \gset
SELECT reflex.publish('e', '5', dedupe_key => 'mine') = :'mine' AS same;
COMMIT;
SELECT count(DISTINCT id) FROM reflex.publish_many('[{"type": "f", "dedupe_key": "many"}, {"type": "f", "dedupe_key": "many"}]') id;
BEGIN;
SELECT reflex.publish('g', '6', dedupe_key => 'undone') IS NOT NULL AS published;
ROLLBACK;
SELECT reflex.publish('h', '7', dedupe_key => 'undone') IS NOT NULL AS published;
SELECT * FROM arrives(5);
-- the window moves on; across the change of days, too
SELECT advance('23 h');
SELECT reflex.publish('i', '8', dedupe_key => 'k') = :'first' AS same;
SELECT advance('2 h');
SELECT reflex.publish('j', '9', dedupe_key => 'k') = :'first' AS same;
SELECT * FROM arrives(1);
SELECT advance('72 h');
DO $$ BEGIN
  FOR i IN 1 .. 2000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pg_class WHERE relname ~ '^dedupe_[0-9]+$'
        AND substr(relname, 8)::int < extract(epoch FROM test_now()) / 86400 - 2);
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT count(*) AS old_children FROM pg_class WHERE relname ~ '^dedupe_[0-9]+$'
    AND substr(relname, 8)::int < extract(epoch FROM test_now()) / 86400 - 2;

-- due later: in the order in which they become due; a past time is now
SELECT reflex.publish('later', '2', session => 'x', deliver_at => test_now() + interval '2 h') AS later \gset
SELECT kind FROM reflex_internal.id_parts(:'later');
SELECT reflex.publish('sooner', '1', deliver_at => test_now() + interval '1 h') AS sooner \gset
SELECT reflex.publish('never', '0', deliver_at => test_now() + interval '1 h') AS never \gset
SELECT reflex.publish('past', '3', deliver_at => test_now() - interval '1 h') IS NOT NULL AS published;
SELECT * FROM arrives(1);
SELECT count(*) FROM reflex.receive('s', 10);
SELECT reflex.cancel_delayed(:'never');
SELECT reflex.cancel_delayed(:'never');
SELECT reflex.cancel_delayed('00000000-0000-7000-8000-000000000000');
SELECT advance('61 min');
SELECT reflex.publish('wakes the worker') IS NOT NULL AS published;
SELECT * FROM arrives(2) a ORDER BY a;
SELECT reflex.cancel_delayed(:'sooner');
SELECT advance('60 min');
SELECT reflex.publish('wakes the worker') IS NOT NULL AS published;
SELECT * FROM arrives(2) a ORDER BY a;
SELECT type, payload, session, meta = jsonb_build_object('delayed_id', :'later') AS knows_its_id FROM reflex.events WHERE type = 'later';
-- exact: not before, and within some tens of milliseconds after
SELECT reflex.publish('exact', deliver_at => test_now() + interval '300 ms') IS NOT NULL AS published;
SELECT * FROM arrives(1);
SELECT x.at - clock_timestamp() + test_now() - d.due BETWEEN interval '0' AND interval '500 ms' AS exact
    FROM reflex_internal.delayed d JOIN reflex_internal.delayed_done x USING (due, no) WHERE d.type = 'exact';
-- with a key: the delayed event's id
SELECT reflex.publish('once', dedupe_key => 'd', deliver_at => test_now() + interval '1 day') AS once \gset
SELECT reflex.publish('once', dedupe_key => 'd') = :'once' AS same;
