-- What every object of reflex owes to its users, whatever it does.
--
-- The lists in here are the exceptions, each with its reason; an exception
-- that is no longer needed fails the test too, so that the lists stay true.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SET search_path = public, pg_catalog;
SET client_min_messages = warning;
SELECT plan(13);

-- Functions and relations that belong to the extension.
CREATE TEMP VIEW fn AS
SELECT p.oid, p.oid::regprocedure::text AS name, n.nspname AS schema, l.lanname AS language,
       p.prosecdef AS definer, p.proowner, p.proacl,
       EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search\_path=%') AS pinned
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname IN ('reflex', 'reflex_internal');

CREATE TEMP VIEW rel AS
SELECT c.oid, c.oid::regclass::text AS name, n.nspname AS schema, c.relkind AS kind,
       c.relacl, c.relowner, coalesce(c.reloptions, '{}') AS options
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
WHERE n.nspname IN ('reflex', 'reflex_internal');

-- What PUBLIC may call.
CREATE TEMP TABLE public_function (name text, reason text);
INSERT INTO public_function VALUES
    ('reflex.version()', 'tells nothing that pg_extension does not');

-- C functions that run no SQL by name, or through rx_spi_open, which pins.
-- Setting it in the catalog would cost each call of the hot path a GUC nest.
CREATE TEMP TABLE unpinned_function (name text);
INSERT INTO unpinned_function VALUES
    ('reflex.publish(text,jsonb,text,text,jsonb,text,timestamp with time zone)'),
    ('reflex.publish_many(jsonb)'),
    ('reflex.json_schema_check(jsonb)'),
    ('reflex.json_schema_is_valid(jsonb,jsonb)'),
    ('reflex.json_schema_errors(jsonb,jsonb)'),
    ('reflex.receive(text,integer,interval,interval)'),
    ('reflex.ack(text)'),
    ('reflex.ack(text[])'),
    ('reflex.nack(text,text,interval)'),
    ('reflex.extend(text,interval)'),
    ('reflex.version()'),
    ('reflex.test_filter(jsonb,jsonb)'),
    ('reflex.lock_scope(text)'),
    ('reflex.try_lock_scope(text)'),
    ('reflex.is_scope_locked(text)'),
    ('reflex_internal.filter_check(jsonb)'),
    ('reflex_internal.append(integer,text,jsonb,text,text,jsonb)'),
    ('reflex_internal.make_id(integer,bigint,timestamp with time zone,integer)'),
    ('reflex_internal.id_parts(uuid)'),
    ('reflex_internal.log_position(smallint)'),
    ('reflex_internal.requeue(integer,bigint,bigint)'),
    ('reflex_internal.progress()'),
    ('reflex_internal.delivery_state(integer,bigint)'),
    ('reflex_internal.settled_at(integer,bigint)'),
    ('reflex_internal.stats()'),
    ('reflex_internal.event_types_changed()'),
    ('reflex_internal.delayed_lock()'),
    ('reflex_internal.subscriptions_changed()'),
    ('reflex_internal.subscription_created(integer)'),
    ('reflex_internal.subscription_dropped(integer)');

-- Tables that a dump leaves empty.
CREATE TEMP TABLE undumped_table (name text, reason text);
INSERT INTO undumped_table VALUES
    ('reflex_internal.event', 'holds no rows itself; its children are no members and are dumped as tables'),
    ('reflex_internal.effect', 'as event'),
    ('reflex_internal.dedupe', 'as event'),
    ('reflex_internal.delayed', 'as event'),
    ('reflex_internal.delayed_done', 'as event'),
    ('reflex_internal.delivery', 'as event'),
    ('reflex_internal.effect_kind', 'its rows come from the scripts'),
    ('reflex_internal.secret', 'a dump carries no secrets');

-- Views that read as their owner, so that a reader needs no right on the tables.
CREATE TEMP TABLE owner_view (name text, reason text);
INSERT INTO owner_view VALUES
    ('reflex.agents', 'definitions, for reflex_admin and reflex_monitor'),
    ('reflex.channels', 'definitions'),
    ('reflex.contacts', 'definitions'),
    ('reflex.event_types', 'definitions'),
    ('reflex.providers', 'definitions'),
    ('reflex.rules', 'definitions'),
    ('reflex.twilio_accounts', 'definitions'),
    ('reflex.secrets', 'names and hosts, never a value'),
    ('reflex.effect_kinds', 'the same for everybody'),
    ('reflex.workers', 'processes of the whole server'),
    ('reflex.dead_letters', 'for reflex_admin and reflex_monitor'),
    ('reflex.events', 'for reflex_admin and reflex_monitor'),
    ('reflex.subscriptions', 'for reflex_admin and reflex_monitor'),
    ('reflex.deliveries', 'for reflex_admin and reflex_monitor'),
    ('reflex.stats', 'for reflex_admin and reflex_monitor'),
    ('reflex.effects', 'shows the reader what is his'),
    ('reflex.runs', 'shows the reader what is his'),
    ('reflex.notifications', 'shows the reader what is his');

SELECT is_empty(
    $$SELECT name FROM fn WHERE schema = 'reflex' AND obj_description(oid, 'pg_proc') IS NULL$$,
    'every public function has a comment');
SELECT is_empty(
    $$SELECT name FROM rel WHERE schema = 'reflex' AND obj_description(oid, 'pg_class') IS NULL$$,
    'every public view has a comment');
SELECT set_eq(
    $$SELECT name FROM fn WHERE NOT pinned AND language = 'c'$$,
    $$SELECT name FROM unpinned_function$$,
    'a function in C pins its search_path, or is listed as one that needs none');
SELECT is_empty(
    $$SELECT name FROM fn WHERE NOT pinned AND language <> 'c'$$,
    'every other function pins its search_path');
SELECT is_empty(
    $$SELECT name FROM fn WHERE definer AND NOT pinned$$,
    'no SECURITY DEFINER without a search_path');
SELECT set_eq(
    $$SELECT fn.name FROM fn, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
      WHERE a.grantee = 0$$,
    $$SELECT name FROM public_function$$,
    'PUBLIC may call what is listed, and nothing else');
SELECT is_empty(
    $$SELECT rel.name FROM rel, aclexplode(relacl) a WHERE a.grantee = 0$$,
    'PUBLIC has no right on any table, view or sequence');
SELECT is_empty(
    $$SELECT nspname FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
      WHERE nspname = 'reflex_internal' AND a.grantee <> nspowner$$,
    'nobody but the owner may look into reflex_internal');
SELECT is_empty(
    $$SELECT name FROM rel WHERE schema = 'reflex' AND kind NOT IN ('v', 'c')$$,
    'no table lies in the public schema');
SELECT set_eq(
    $$SELECT name FROM rel WHERE kind IN ('r', 'p', 'S')
          AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'reflex' AND rel.oid = ANY (e.extconfig))$$,
    $$SELECT name FROM undumped_table$$,
    'every table and sequence is dumped, or is listed as one that need not be');
SELECT set_eq(
    $$SELECT name FROM rel WHERE kind = 'v' AND NOT 'security_invoker=true' = ANY (options)$$,
    $$SELECT name FROM owner_view$$,
    'every view reads as its reader, or is listed as one that does not');
SELECT is_empty(
    $$SELECT rel.name FROM rel JOIN owner_view v USING (name)
      WHERE v.reason LIKE 'shows the reader%' AND NOT 'security_barrier=true' = ANY (rel.options)$$,
    'a view that hides rows is a security barrier');
SELECT is(
    (SELECT extversion FROM pg_extension WHERE extname = 'reflex'), reflex.version(),
    'the library and its SQL are of one version');

SELECT * FROM finish();
ROLLBACK;
