-- Locks on scopes, as one session sees them; two sessions are in test/specs.
\set SHOW_CONTEXT never
SELECT reflex.is_scope_locked('a');
BEGIN;
SELECT reflex.lock_scope('a');
SELECT reflex.lock_scope('a'), reflex.try_lock_scope('a');
SELECT reflex.is_scope_locked('a'), reflex.is_scope_locked('b');
-- no place of its own in the tables of pg_advisory_lock
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid NOT IN (1, 2);
COMMIT;
SELECT reflex.is_scope_locked('a');

-- let go by rollback, by a savepoint's, and by an error
BEGIN;
SELECT reflex.lock_scope('a');
ROLLBACK;
SELECT reflex.is_scope_locked('a');
BEGIN;
SELECT reflex.lock_scope('a');
SAVEPOINT s;
SELECT reflex.try_lock_scope('b');
ROLLBACK TO s;
SELECT reflex.is_scope_locked('a'), reflex.is_scope_locked('b');
COMMIT;
DO $$ BEGIN PERFORM reflex.lock_scope('a'), 1 / 0; END $$;
DO $$
BEGIN
    PERFORM reflex.lock_scope('a'), 1 / 0;
EXCEPTION WHEN division_by_zero THEN
    RAISE NOTICE 'locked: %', reflex.is_scope_locked('a');
END $$;
SELECT reflex.is_scope_locked('a');

-- names are taken as they are
BEGIN;
SELECT reflex.lock_scope('Straße'), reflex.lock_scope(repeat('x', 10000));
SELECT reflex.is_scope_locked('Straße'), reflex.is_scope_locked('straße'), reflex.is_scope_locked('Straße '),
       reflex.is_scope_locked(repeat('x', 10000)), reflex.is_scope_locked(repeat('x', 10001));
ROLLBACK;
SELECT reflex.lock_scope('');
SELECT reflex.lock_scope(NULL);
SELECT reflex.try_lock_scope(NULL);
SELECT reflex.is_scope_locked('');
