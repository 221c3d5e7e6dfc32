-- Rules: definitions, what is refused, who may.  How they fire is in test/t.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_rules; GRANT reflex_admin TO regress_rules;
CREATE ROLE regress_rules_too; GRANT reflex_admin TO regress_rules_too;
CREATE ROLE regress_rules_app; GRANT reflex_app TO regress_rules_app;
CREATE FUNCTION public.on_event(event jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION public.on_text(event text) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION public.on_secret(event jsonb) RETURNS void LANGUAGE sql AS '';
REVOKE ALL ON FUNCTION public.on_secret(jsonb) FROM PUBLIC;
SELECT reflex.create_contact('ann', '+493012345678');

SET ROLE regress_rules;
SELECT reflex.create_rule('all', action => '{"publish": "seen"}');
SELECT reflex.create_rule('handler', '{"type": ["a", "b.*"]}', action => '{"function": "public.on_event"}');
SELECT reflex.create_rule('teller', '{}', action => '{"notify": "ann", "body": {"$": "$.payload.text"}}');
SELECT reflex.create_rule('sender', '{}', action => '{"effect": "http", "payload": {"url": "http://127.0.0.1/", "body": {"$": "$"}}}');
SELECT name, owner, enabled, filter, trigger, action FROM reflex.rules ORDER BY name;
SELECT reflex.create_rule('all', action => '{"publish": "seen"}');

-- Filters and triggers.
SELECT reflex.create_rule('x', '{"function": "a.b"}', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', '{"types": ["a"]}', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', '{"type": "a"}', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', '{"type": []}', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', '{"type": ["a", 1]}', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', '[]', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', trigger => '{"every": {"count": 5}}', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', trigger => '{"immediate": {"a": 1}}', action => '{"publish": "b"}');
SELECT reflex.create_rule('x', trigger => '[]', action => '{"publish": "b"}');

-- Actions.
SELECT reflex.create_rule('x');
SELECT reflex.create_rule('x', action => '{}');
SELECT reflex.create_rule('x', action => '{"flow": "f"}');
SELECT reflex.create_rule('x', action => '{"publish": "a", "function": "public.on_event"}');
SELECT reflex.create_rule('x', action => '{"publish": 1}');
SELECT reflex.create_rule('x', action => '{"publish": ""}');
SELECT reflex.create_rule('x', action => '{"publish": "a", "body": 1}');
SELECT reflex.create_rule('x', action => '{"agent": "nobody"}');
SELECT reflex.create_rule('x', action => '{"effect": "model"}');
SELECT reflex.create_rule('x', action => '{"notify": "nobody"}');
SELECT reflex.create_rule('x', action => '{"function": "on_event"}');
SELECT reflex.create_rule('x', action => '{"function": "public.on_event(jsonb)"}');
SELECT reflex.create_rule('x', action => '{"function": "public.on_text"}');
SELECT reflex.create_rule('x', action => '{"function": "public.on_secret"}');
SELECT reflex.create_rule('x', action => '{"publish": "a", "payload": {"a": [{"$": "$.x["}]}}');
SELECT reflex.create_rule('x', action => '{"publish": "a", "payload": {"$": "$.x", "y": 1}}');
SELECT reflex.create_rule('x', action => '{"publish": "a", "payload": {"$": 1}}');

-- Changing them.
SELECT reflex.alter_rule('all', '{"type": ["c"]}');
SELECT reflex.alter_rule('nobody', '{"type": ["c"]}');
SELECT reflex.alter_rule('all', '{"type": "c"}');
SELECT reflex.disable_rule('all');
SELECT reflex.disable_rule('nobody');
SELECT reflex.enable_rule('handler');
SELECT reflex.enable_rule('nobody');
SELECT name, enabled, filter FROM reflex.rules ORDER BY name;

-- Another admin may stop a rule, but not have it do something else.
SET ROLE regress_rules_too;
SELECT reflex.alter_rule('handler', action => '{"publish": "x"}');
SELECT reflex.disable_rule('handler');
SET ROLE regress_rules_app;
SELECT reflex.create_rule('x', action => '{"publish": "b"}');
SELECT count(*) FROM reflex.rules;
RESET ROLE;

-- Templates.
SELECT reflex_internal.fill('{"a": {"$": "$.payload.x"}, "b": [{"$": "$.payload.l[*]"}, 1, null], "c": {"$": "$.nothing"}, "d": {"$": "$.payload.x.y.z"}, "e": {}}',
    '{"payload": {"x": 1, "l": [5, 6]}}');

SELECT reflex.drop_rule(name) FROM reflex.rules;
SELECT reflex.drop_rule('all');
SELECT reflex.delete_contact('ann');
DROP FUNCTION public.on_event(jsonb), public.on_text(text), public.on_secret(jsonb);
DROP ROLE regress_rules;
DROP ROLE regress_rules_too;
DROP ROLE regress_rules_app;
