-- Event types: what publish() holds payloads against.
\set SHOW_CONTEXT never
CREATE ROLE regress_admin;
CREATE ROLE regress_app;
GRANT reflex_admin TO regress_admin;
GRANT reflex_app TO regress_app;
SELECT type, description IS NOT NULL AS described, shipped, owner FROM reflex.event_types ORDER BY type;

SET ROLE regress_admin;
SELECT reflex.register_event_type('order.paid', '{"type": "object", "required": ["order", "total"],
    "properties": {"order": {"type": "integer"}, "total": {"type": "number", "multipleOf": 0.01}, "lines": {"items": {"required": ["sku"]}}},
    "additionalProperties": false}', 'An order has been paid.');
SELECT type, description, shipped, owner FROM reflex.event_types WHERE NOT shipped;
SET ROLE regress_app;
SELECT reflex.publish('order.paid', '{"order": 1, "total": 99.90}') IS NOT NULL AS published;
SELECT reflex.publish('order.paid', '{"order": "1", "total": 0.005, "lines": [{"sku": 1}, {}], "x": 1}');
SELECT reflex.publish('order.paid');
SELECT reflex.publish('order.paid', '5');
SELECT reflex.publish('order.payed', '{"order": "1"}') IS NOT NULL AS published;
-- at most ten reasons
SELECT reflex.publish('order.paid', jsonb_build_object('order', 1, 'total', 1, 'lines', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 20))));
-- all or nothing
SELECT reflex.subscribe('types', types => ARRAY['order.paid']);
SELECT reflex.publish_many('[{"type": "order.paid", "payload": {"order": 2, "total": 1}}, {"type": "order.paid", "payload": {"order": 3}}]');
SELECT count(*) FROM reflex.receive('types', 10);
SELECT count(*) FROM reflex.publish_many('[{"type": "order.paid", "payload": {"order": 2, "total": 1}}, {"type": "order.new", "payload": []}]');
SELECT payload, reflex.ack(token) FROM reflex.receive('types', 10);

-- what the transaction changes holds for it at once, and is undone with it
RESET ROLE;
BEGIN;
SELECT reflex.register_event_type('order.paid', '{"type": "object"}');
SELECT reflex.publish('order.paid', '{}') IS NOT NULL AS published;
SAVEPOINT a;
SELECT reflex.register_event_type('order.paid', '{"type": "array"}');
SELECT reflex.publish('order.paid', '[]') IS NOT NULL AS published;
ROLLBACK TO a;
SELECT reflex.publish('order.paid', '{}') IS NOT NULL AS published;
SAVEPOINT b;
SELECT reflex.publish('order.paid', '[]');
ROLLBACK TO b;
SELECT reflex.drop_event_type('order.paid');
SELECT reflex.publish('order.paid', '[]') IS NOT NULL AS published;
ROLLBACK;
SELECT reflex.publish('order.paid', '{}');

-- replaced, dropped, refused
SET ROLE regress_admin;
SELECT reflex.register_event_type('order.paid', 'false', 'Nothing may.');
SELECT reflex.publish('order.paid');
SELECT type, schema, description FROM reflex.event_types WHERE NOT shipped;
SELECT reflex.drop_event_type('order.paid');
SELECT reflex.drop_event_type('order.paid');
SELECT reflex.publish('order.paid') IS NOT NULL AS published;
SELECT reflex.register_event_type('', '{}');
SELECT reflex.register_event_type(repeat('x', 256), '{}');
SELECT reflex.register_event_type(NULL, '{}');
SELECT reflex.register_event_type('a', NULL);
SELECT reflex.register_event_type('a', '{"properties": {"b": {"typ": "string"}}}');
SELECT reflex.register_event_type('agent.completed', '{}');
SELECT reflex.drop_event_type('agent.failed');
SET ROLE regress_app;
SELECT reflex.register_event_type('a', '{}');
SELECT reflex.drop_event_type('ws.message');
SELECT count(*) > 0 AS may_look FROM reflex.event_types;
RESET ROLE;

-- those that come with reflex
SELECT reflex.subscribe('shipped', types => ARRAY['ws.message', 'http.request', 'timer.tick', 'lifecycle']);
SET ROLE regress_app;
SELECT reflex.publish_ws_message('c-1', '"hello"') AS answer \gset
SELECT reflex.publish_ws_message('c-1', '{"text": "hi"}') ? 'ack' AS has_ack;
SELECT reflex.publish_http_request('GET', '/') IS NOT NULL AS published;
SELECT reflex.publish_http_request('POST', '/orders?x=1', '{"accept": ["a", "b"], "host": "h"}', '{"n": 1}') IS NOT NULL AS published;
SELECT reflex.publish('timer.tick', '{"timer_name": "hourly", "tick_count": 3}') IS NOT NULL AS published;
SELECT reflex.publish('lifecycle', '{"action": "started", "details": {"pid": 1}}') IS NOT NULL AS published;
SELECT reflex.publish_ws_message(NULL, '1');
SELECT reflex.publish_ws_message('', '1');
SELECT reflex.publish_http_request('GET', 'orders', '{"n": 1}');
SELECT reflex.publish('timer.tick', '{"timer_name": "hourly", "tick_count": 0.5}');
SELECT reflex.publish('lifecycle', '{"details": []}');
SELECT type, source, payload, event_id::text = :'answer'::jsonb ->> 'ack' AS is_acked FROM reflex.receive('shipped', 10);
RESET ROLE;
-- may be said otherwise, or not at all
SELECT reflex.register_event_type('lifecycle', '{"type": "string"}');
SELECT reflex.publish('lifecycle', '"up"') IS NOT NULL AS published;
SELECT reflex.drop_event_type('lifecycle');
SELECT reflex.publish('lifecycle', '[]') IS NOT NULL AS published;
SELECT count(*) FROM reflex.event_types WHERE type = 'lifecycle';
SELECT reflex.drop_event_type('lifecycle');
DELETE FROM reflex_internal.event_type;
SELECT reflex_internal.event_types_changed();
SELECT reflex.publish('lifecycle', '[]');

-- only what is registered
SET reflex.strict_event_types = on;
SELECT reflex.publish('order.paid');
SELECT reflex.publish_many('[{"type": "order.paid"}]');
SELECT reflex.publish('lifecycle', '{"action": "x"}') IS NOT NULL AS published;
RESET reflex.strict_event_types;
SET ROLE regress_app;
SET reflex.strict_event_types = off;
RESET ROLE;

SELECT reflex.unsubscribe('types');
SELECT reflex.unsubscribe('shipped');
DROP ROLE regress_admin;
DROP ROLE regress_app;
