-- Dead letters as people work them: filters, editing, rates, history.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION reflex CASCADE;
CREATE EXTENSION reflex;
CREATE OR REPLACE FUNCTION clock_advance(bigint) RETURNS void LANGUAGE c AS 'reflex', 'reflex_test_clock_advance';
-- takes everything that a subscription has to give and lets it die
CREATE FUNCTION kill(s text, error text) RETURNS bigint LANGUAGE sql
    AS $$ SELECT count(*) FROM (SELECT reflex.nack(token, kill.error) FROM reflex.receive(s, 100)) x $$;
SELECT reflex.subscribe('d', max_attempts => 1);
SELECT reflex.subscribe('other', types => ARRAY['order.*'], max_attempts => 1);
SELECT count(*) FROM reflex.publish_many('[{"type": "order.paid", "payload": {"n": 1}},
  {"type": "order.sent", "payload": {"n": 2}}, {"type": "refund", "payload": {"n": 3}}]');
SELECT reflex.nack(token, CASE type WHEN 'refund' THEN 'timeout after 3 s' ELSE 'HTTP 500' END)
    FROM reflex.receive('d', 10);
SELECT kill('other', 'no such customer');

-- filters and paging
CREATE FUNCTION types(d reflex.dead_letters[]) RETURNS text LANGUAGE sql
    AS $$ SELECT string_agg(u.type, ' ') FROM unnest(d) u $$;
SELECT types(array_agg(l)) FROM reflex.dlq_list('d') l;
SELECT types(array_agg(l)) FROM reflex.dlq_list('d', type => 'order.*') l;
SELECT types(array_agg(l)) FROM reflex.dlq_list('d', type => 'order.paid') l;
SELECT types(array_agg(l)) FROM reflex.dlq_list('d', type => 'order') l;
SELECT types(array_agg(l)) FROM reflex.dlq_list(error => '^timeout after \d') l;
SELECT types(array_agg(l)) FROM reflex.dlq_list(error => 'customer') l;
SELECT reflex.dlq_list(error => '(');
SELECT count(*) FROM reflex.dlq_list(since => now() + '1 s');
SELECT count(*) FROM reflex.dlq_list(until => now() + '1 s');
SELECT count(*) FROM reflex.dlq_list('d', since => (SELECT max(dead_at) FROM reflex.dead_letters WHERE subscription = 'd'));
SELECT count(*) FROM reflex.dlq_list('d', until => (SELECT min(dead_at) FROM reflex.dead_letters WHERE subscription = 'd'));
SELECT min(id) AS second FROM reflex.dlq_list('d', max => 2) \gset
SELECT types(array_agg(l)) FROM reflex.dlq_list('d', :second, 2) l;

-- one, with an edited payload: that is delivered, until it is settled
SELECT event_id AS paid FROM reflex.dlq_list('d', type => 'order.paid') \gset
\set VERBOSITY sqlstate
SELECT reflex.dlq_retry(:'paid', 'nobody');
\set VERBOSITY default
SELECT reflex.dlq_retry(:'paid', 'd', payload => '{"n": 1, "fixed": true}');
\set VERBOSITY sqlstate
SELECT reflex.dlq_retry(:'paid', 'd');
\set VERBOSITY default
SELECT type, payload, attempt, event_id = :'paid' AS same_id FROM reflex.receive('d', lease => '1 s');
-- the lease lapses, and that was its one attempt
SELECT clock_advance(2000000);
SELECT count(*) FROM reflex.receive('d');
DO $$ BEGIN
  FOR i IN 1 .. 1000 LOOP
    EXIT WHEN EXISTS (SELECT FROM reflex.dlq_list('d', type => 'order.paid'));
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
-- both letters are on record, with original and edited payload
SELECT payload, edited_payload, error, attempts, jsonb_array_length(errors) AS errors, retried_at IS NOT NULL AS retried, retried_by
    FROM reflex.dlq_show(:'paid', 'd');
SELECT count(*) FROM reflex.dlq_show(:'paid');
SELECT reflex.dlq_show('00000000-0000-7000-8000-000000000000');
-- put back as it is: what was delivered last; and through a failure with a retry
SELECT reflex.subscribe('d', max_attempts => 2, retry_base_delay => '0');
SELECT reflex.dlq_retry(:'paid', 'd');
SELECT payload, attempt, reflex.nack(token, 'again', '0') FROM reflex.receive('d');
SELECT payload, attempt FROM reflex.receive('d', lease => '1 s');
SELECT clock_advance(2000000);
SELECT count(*) FROM reflex.receive('d');
DO $$ BEGIN
  FOR i IN 1 .. 1000 LOOP
    EXIT WHEN EXISTS (SELECT FROM reflex.dlq_list('d', type => 'order.paid'));
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT jsonb_path_query_array(errors, '$[*].error') FROM reflex.dlq_list('d', type => 'order.paid');
-- edited once more; others of the same event are not touched
SELECT reflex.dlq_retry(:'paid', 'd', '{"n": 1, "fixed": "really"}');
SELECT payload, reflex.ack(token) FROM reflex.receive('d');
SELECT payload, edited_payload FROM reflex.dlq_list('other', type => 'order.paid');
SELECT payload FROM reflex.events WHERE event_id = :'paid';
-- rolled back: still a dead letter
BEGIN;
SELECT reflex.dlq_retry(:'paid', 'other', '{"n": 0}');
ROLLBACK;
SELECT count(*) FROM reflex.receive('other');
SELECT count(*), count(edited_payload) AS edited FROM reflex.dlq_list('other');

-- all of them, by filter
SELECT reflex.dlq_retry_all(type => 'refund', per_second => 0);
SELECT reflex.dlq_retry_all('other', error => 'nothing like it');
SELECT reflex.dlq_retry_all('d', type => 'refund', error => 'timeout');
SELECT type, payload, reflex.ack(token) FROM reflex.receive('d', 10);
SELECT reflex.dlq_retry_all(max => 1);
SELECT types(array_agg(l)) FROM reflex.dlq_list() l;
SELECT reflex.dlq_retry_all(), reflex.dlq_retry_all();
SELECT kill('d', 'x'), kill('other', 'x');
SELECT kill('d', 'x'), kill('other', 'x');

-- at a rate: one at once, the others each when their time has come
SELECT subscription, reflex.dlq_purge(subscription) FROM (VALUES ('d'), ('other')) s (subscription);
SELECT count(*) FROM reflex.publish_many('[{"type": "order.1"}, {"type": "order.2"}, {"type": "order.3"}]');
SELECT kill('other', 'x');
SELECT reflex.dlq_retry_all('other', per_second => 0.01);
SELECT type FROM reflex.receive('other', 10, '1 h');
SELECT clock_advance(100000000);
SELECT type FROM reflex.receive('other', 10, '1 h');
SELECT clock_advance(100000000);
SELECT type FROM reflex.receive('other', 10, '1 h');

-- purge, with the same filters
SELECT reflex.subscribe('p', types => ARRAY['p.*'], max_attempts => 1);
SELECT count(*) FROM reflex.publish_many('[{"type": "p.1"}, {"type": "p.2"}, {"type": "p.3"}]');
SELECT reflex.nack(token, 'error of ' || type) FROM reflex.receive('p', 10);
SELECT reflex.dlq_purge('p', error => '2$'), reflex.dlq_purge('p', type => 'p.9'), reflex.dlq_purge('p', since => 'infinity');
SELECT types(array_agg(l)) FROM reflex.dlq_list('p') l;
SELECT reflex.dlq_purge(event_id => (SELECT event_id FROM reflex.dlq_list('p', type => 'p.1')));
SELECT types(array_agg(l)) FROM reflex.dlq_list('p') l;
-- a subscription that is gone
SELECT reflex.unsubscribe('p');
SELECT reflex.dlq_retry(event_id) FROM reflex.dlq_list('p');
SELECT reflex.dlq_retry_all('p');
SELECT reflex.dlq_purge('p', until => 'infinity');

-- what a letter holds is delivered when the log has it no more
SELECT reflex.subscribe('l', types => ARRAY['lost'], max_attempts => 1);
SELECT reflex.publish('lost', '{"still": "here"}', 'somewhere', 'a session', '{"k": 1}') AS lost \gset
SELECT kill('l', 'x');
DELETE FROM reflex_internal.event WHERE type = 'lost';
SELECT reflex.dlq_retry(:'lost');
SELECT type, source, session, payload, meta, attempt, event_id = :'lost' AS same_id, reflex.nack(token, 'y')
    FROM reflex.receive('l');
SELECT type, payload, error FROM reflex.dlq_list('l');

-- who may
CREATE ROLE dlq_app IN ROLE reflex_app;
CREATE ROLE dlq_boss IN ROLE reflex_admin;
SET ROLE dlq_app;
SELECT count(*) FROM reflex.dlq_show(:'lost');
SELECT reflex.dlq_retry(:'lost');
SELECT reflex.dlq_retry_all();
SELECT reflex.dlq_purge();
SET ROLE dlq_boss;
SELECT reflex.dlq_retry(:'lost');
RESET ROLE;
SELECT retried_by FROM reflex.dlq_show(:'lost');
DROP ROLE dlq_app, dlq_boss;
DROP EXTENSION reflex CASCADE;
DROP FUNCTION clock_advance, kill;
CREATE EXTENSION reflex;
