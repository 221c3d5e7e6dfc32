-- Filters: what they say, what is refused, and that subscriptions and rules use them.
\set SHOW_CONTEXT never
CREATE TEMP TABLE event (n int, event jsonb);
INSERT INTO event VALUES
    (1, '{"type": "order.paid", "source": "shop.web", "session": "s1", "payload": {"n": 1, "note": "Very LATE", "tags": ["red", "große Eile"], "deep": [{"a": "needle"}]}, "meta": {"k": "v"}}'),
    (2, '{"type": "order.sent.late", "source": "shop", "payload": {"n": 200, "ok": true, "note": "fine"}}'),
    (3, '{"type": "orders", "payload": "just late text"}'),
    (4, '{"type": "order", "source": "depot", "payload": 404}'),
    (5, '{"type": "refund", "source": "depot.x", "payload": [1, "late", null, [true, {"n": 7}]]}'),
    (6, '{"type": "order.", "payload": null}'),
    (7, '{"type": "tick", "payload": {}, "created_at": "2026-02-03 04:05:06.789+02"}');
CREATE FUNCTION pg_temp.passing(filter jsonb) RETURNS text LANGUAGE sql
AS $$ SELECT string_agg(n::text, ' ' ORDER BY n) FROM event WHERE (reflex.test_filter(filter, event) -> 'matches')::boolean $$;
CREATE TEMP TABLE filter (n int GENERATED ALWAYS AS IDENTITY, filter jsonb);
INSERT INTO filter (filter) VALUES
    ('{}'),
    -- type, source: exact and below
    ('{"type": ["order.paid", "tick"]}'), ('{"type": ["order.*"]}'), ('{"type": ["order.sent.*", "refund.*"]}'),
    ('{"type": ["*", ".*", "orde.*"]}'), ('{"source": ["shop", "depot.*"]}'), ('{"source": ["shop.*"], "type": ["order.*"]}'),
    -- keywords: in strings, not in keys, whatever the case
    ('{"keyword": ["late"]}'), ('{"keyword": ["LATE t", "GROßE e"]}'), ('{"keyword": ["needle"]}'), ('{"keyword": ["note"]}'),
    ('{"keyword": ["404", "true", "7"]}'), ('{"keyword": ["late"], "in": "$.type"}'), ('{"keyword": ["20"], "in": "$.payload.n"}'),
    ('{"keyword": ["TRUE"], "in": "$.payload.*"}'), ('{"keyword": ["late"], "in": "$.payload.tags"}'), ('{"keyword": ["red"], "in": "$.payload.tags"}'),
    ('{"keyword": ["x"], "in": "strict $.payload.missing"}'), ('{"keyword": ["v"], "in": "$.meta"}'),
    -- match: predicates, and paths that find something
    ('{"match": "$.payload.n > 100"}'), ('{"match": "$.payload.n"}'), ('{"match": "$.payload.ok"}'), ('{"match": "$.payload.ok == false"}'),
    ('{"match": "$.payload ? (@.n == 1 && @.note like_regex \"late\" flag \"i\")"}'), ('{"match": "exists($.payload.tags[*] ? (@ == \"red\"))"}'),
    ('{"match": "!exists($.session)"}'), ('{"match": "$.session == null"}'), ('{"match": "$.meta.k == \"v\" && $.session starts with \"s\""}'),
    ('{"match": "$.source == \"depot\" || $.type == \"orders\""}'), ('{"match": "$.payload == 404"}'), ('{"match": "$.payload == \"just late text\""}'),
    ('{"match": "$.payload[3][1].n == 7"}'), ('{"match": "$.payload.deep[*].a == \"needle\""}'), ('{"match": "$.created_at == \"2026-02-03T02:05:06.789+00:00\""}'),
    ('{"match": "$.created_at < \"2026-02-04\""}'), ('{"match": "(2 > 1).type() == \"boolean\""}'), ('{"match": "(2 < 1).type()"}'),
    -- what fails matches nothing
    ('{"match": "strict $.payload.n.x.y > 1"}'), ('{"match": "$.payload.note > 1"}'), ('{"match": "($.payload.note * 2) > 1"}'), ('{"match": "1 / $.payload.tags.size() > 0"}'),
    ('{"match": "$.payload.note.datetime() > \"2026-01-01\".datetime()"}'), ('{"match": "$.created_at.datetime() < \"2026-03-01\".datetime()"}'),
    -- all, any, not
    ('{"not": {"type": ["order.*"]}}'), ('{"any": [{"type": ["tick"]}, {"source": ["depot"]}]}'), ('{"all": [{"type": ["order.*"]}, {"match": "$.payload.n > 100"}]}'),
    ('{"any": [{"all": [{"keyword": ["late"]}, {"not": {"source": ["shop.*"]}}]}, {"type": ["tick"]}]}'),
    ('{"not": {"not": {"source": ["shop"]}}, "any": [{}, {"type": ["x"]}]}'), ('{"not": {"match": "strict $.payload.n"}}');
SELECT n, filter, pg_temp.passing(filter) FROM filter ORDER BY n;

-- numbers and objects lie where jsonb wants them, whatever lies before
SELECT count(*) FROM generate_series(1, 9) i, generate_series(1, 9) j, generate_series(0, 3) k,
    unnest(ARRAY['404', '{"a": {"n": 404}}', '["x", 404]', 'true']::jsonb[]) p
WHERE reflex.test_filter('{"match": "$.payload.** == 404 || $.payload == true", "all": [{"match": "$.meta.m[1] == 1.5"}, {"match": "$.session == \"s\" || $.session == null"},
        {"match": "$.type.type() == \"string\" && $.source starts with \"y\" && $.created_at like_regex \"[+]00:00$\""}]}',
    jsonb_build_object('type', repeat('x', i), 'source', repeat('y', j), 'session', CASE WHEN k > 1 THEN 's' END,
        'meta', jsonb_build_object('m', ARRAY[k, 1.5]), 'payload', p)) -> 'matches' = 'true';

-- which part said no
SELECT pg_temp.passing('{"type": ["order.*"]}');
SELECT reflex.test_filter(f, event) FROM event, unnest(ARRAY[
    '{}', '{"type": ["tick", "x.*"]}', '{"keyword": ["no"]}', '{"match": "$.payload.n > 1"}', '{"match": "$.payload.note > 1"}',
    '{"match": "$.payload.none"}', '{"match": "strict $.payload.none"}', '{"match": "$.payload.note.double() > 1"}', '{"match": "$.payload.note.double()"}',
    '{"keyword": ["no"], "in": "$.payload.tags"}', '{"keyword": ["no"], "in": "$.payload.none"}',
    '{"all": [{"match": "$.payload.n == 2"}, {"type": ["order.paid"]}]}', '{"all": [{"match": "$.payload.n == 2"}, {"type": ["x"]}]}',
    '{"any": [{"type": ["x"]}, {"not": {}}]}', '{"not": {"any": [{"type": ["x"]}, {"type": ["order.*"]}]}}',
    '{"type": ["order.*"], "all": [{}, {"any": [{"not": {"keyword": ["red"]}}]}]}']::jsonb[]) WITH ORDINALITY AS f (f, i)
WHERE n = 1 ORDER BY i;
SELECT reflex.test_filter('{"source": ["a"]}', '{}'), reflex.test_filter('{"type": ["a"]}', '{}'), reflex.test_filter('{"match": "$.payload"}', '{}');
SELECT reflex.test_filter('{}', '[]');
SELECT reflex.test_filter('{}', '{"type": 1}');
SELECT reflex.test_filter('{}', '{"meta": []}');
SELECT reflex.test_filter('{}', '{"created_at": "when"}');

-- refused, with the place
CREATE FUNCTION pg_temp.refusal(filter jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_detail text;
BEGIN
    PERFORM reflex.test_filter(filter, '{}');
    RETURN 'passed';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
    RETURN format('%s: %s | %s', SQLSTATE, SQLERRM, v_detail);
END $$;
SELECT pg_temp.refusal(f) FROM unnest(ARRAY[
    '[]', '5', 'null', '{"types": ["a"]}', '{"type": "a"}', '{"type": []}', '{"type": ["a", 1]}', '{"type": ["a", ""]}', '{"type": null}',
    '{"source": {}}', '{"keyword": "a"}', '{"keyword": ["a"], "in": 1}', '{"keyword": ["a"], "in": "$.["}', '{"in": "$"}',
    '{"match": 1}', '{"match": "$.a["}', '{"match": "$.a > $x"}', '{"match": "$.a == \"$\\\"x\\\"\""}', '{"match": "$.a like_regex \"(\""}',
    '{"match": "$.a like_regex \"a\" flag \"x\""}', '{"match": ""}',
    '{"all": []}', '{"all": {}}', '{"any": 5}', '{"any": [{}, {"all": [{"not": {"match": ")"}}]}]}', '{"not": []}', '{"not": null}',
    '{"all": [{}, {"a/b~c": 1}]}', '{"rate_limit": {"max": 1}}', '{"any": [{"dedupe": {}}]}', '{"function": "a.b"}']::jsonb[])
    WITH ORDINALITY AS f (f, i) ORDER BY i;
SELECT pg_temp.refusal((repeat('{"not":', 31) || '{}' || repeat('}', 31))::jsonb);
SELECT left(pg_temp.refusal((repeat('{"not":', 32) || '{}' || repeat('}', 32))::jsonb), 60);
SELECT left(pg_temp.refusal((repeat('{"all":[', 900) || '{}' || repeat(']}', 900))::jsonb), 60);
SELECT reflex.test_filter('{"all": [{"type": "x"}]}', '{}');

-- subscriptions: beside types, on what is read later, and again after a nack
SELECT reflex.subscribe('f', filter => '{"match": "$.payload.n >"}');
SELECT reflex.subscribe('f', types => ARRAY['order.*'], filter => '{"match": "$.payload.n >= 2"}', retry_base_delay => '0');
SELECT count(*) FROM reflex.publish_many('[{"type": "order.a", "payload": {"n": 1}}, {"type": "order.b", "payload": {"n": 2}},
  {"type": "x", "payload": {"n": 3}}, {"type": "order.c", "payload": {"n": "3"}}, {"type": "order.d", "payload": {"n": 4}}]');
SELECT type, reflex.nack(token, 'later', '0') FROM reflex.receive('f', 10);
SELECT type, attempt FROM reflex.receive('f', 10);
SELECT reflex.subscribe('f', filter => '{"keyword": ["NEEDLE"]}');
SELECT count(*) FROM reflex.publish_many('[{"type": "e", "payload": {"a": ["hay"]}}, {"type": "f", "payload": {"a": ["a needle"]}}]');
SELECT type FROM reflex.receive('f', 10);
-- an event that a path can't be evaluated on is not wanted, and stops nobody
SELECT reflex.subscribe('f', filter => '{"match": "$.** ? (@ == 5)"}');
SELECT reflex.subscribe('g', filter => '{"not": {"match": "$.** ? (@ == 5)"}}');
SELECT reflex.publish('deep', (repeat('[', 6000) || '5' || repeat(']', 6000))::jsonb) IS NOT NULL;
SELECT reflex.publish('flat', '[5]') IS NOT NULL;
SET max_stack_depth = '400kB';
SELECT type FROM reflex.receive('f', 10);
SELECT type FROM reflex.receive('g', 10);
RESET max_stack_depth;
-- large ones are compressed, and stored elsewhere
SELECT reflex.subscribe('f', filter => '{"match": "$.payload.n == 1 && $.meta.m == 2", "keyword": ["the end"]}');
SELECT reflex.publish('large', jsonb_build_object('n', 1, 'pad', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 5000) i), 'z', 'The End'), meta => '{"m": 2}') IS NOT NULL;
SELECT reflex.publish('padded', jsonb_build_object('n', 1, 'pad', repeat('x', 100000), 'z', 'The End'), meta => '{"m": 2}') IS NOT NULL;
SELECT type FROM reflex.receive('f', 10);
-- no filter: all again
SELECT reflex.subscribe('f');
SELECT reflex.publish('any') IS NOT NULL;
SELECT type FROM reflex.receive('f', 10);
SELECT reflex.unsubscribe('f'), reflex.unsubscribe('g');

-- rules: refused where they are made, and fired by what passes
SELECT reflex.create_rule('f', '{"any": [{"match": "$["}]}', action => '{"publish": "b"}');
SELECT reflex.subscribe('fired', types => ARRAY['fired']);
SELECT reflex.create_rule('f', '{"all": [{"match": "$.payload.n > 1"}, {"source": ["shop.*"]}], "not": {"keyword": ["no"]}}',
    action => '{"publish": "fired", "payload": {"n": {"$": "$.payload.n"}}}');
SELECT count(*) FROM reflex.publish_many('[{"type": "a", "payload": {"n": 1}, "source": "shop.a"}, {"type": "a", "payload": {"n": 2}, "source": "shop.a"},
  {"type": "a", "payload": {"n": 3, "x": "No"}, "source": "shop.a"}, {"type": "a", "payload": {"n": 4}, "source": "x"}, {"type": "a", "payload": {"n": 5}, "source": "shop.b"}]');
CREATE FUNCTION pg_temp.fired(wanted int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_seen text[] := '{}';
BEGIN
    FOR i IN 1 .. 1000 LOOP
        v_seen := v_seen || ARRAY(SELECT payload ->> 'n' FROM reflex.receive('fired', 10));
        EXIT WHEN cardinality(v_seen) >= wanted;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN array_to_string(v_seen, ' ');
END $$;
SELECT pg_temp.fired(2);
SELECT reflex.alter_rule('f', filter => '{"type": ["a"], "match": "$.payload.n == 6"}');
SELECT count(*) FROM reflex.publish_many('[{"type": "a", "payload": {"n": 2}, "source": "shop.a"}, {"type": "a", "payload": {"n": 6}}]');
SELECT pg_temp.fired(1);
SELECT reflex.drop_rule('f'), reflex.unsubscribe('fired');

