-- Locks on scopes (src/event/scope.c).

CREATE OR REPLACE FUNCTION reflex.lock_scope(scope text) RETURNS void
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'reflex_lock_scope';
COMMENT ON FUNCTION reflex.lock_scope(text) IS
'Waits until nobody else holds the scope and holds it until this transaction ends, however it does, or is rolled back to a savepoint before. '
'May be taken again by who holds it. Different scopes do not block each other, nor do advisory locks taken otherwise. '
'Errors: PT422 scope is null or empty, 40P01 deadlock, 55P03 waited longer than lock_timeout.';
REVOKE ALL ON FUNCTION reflex.lock_scope(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.lock_scope(text) TO reflex_app, reflex_admin;

CREATE OR REPLACE FUNCTION reflex.try_lock_scope(scope text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'reflex_try_lock_scope';
COMMENT ON FUNCTION reflex.try_lock_scope(text) IS
'As lock_scope, but does not wait: false when somebody else holds the scope. '
'Errors: PT422 scope is null or empty.';
REVOKE ALL ON FUNCTION reflex.try_lock_scope(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.try_lock_scope(text) TO reflex_app, reflex_admin;

CREATE OR REPLACE FUNCTION reflex.is_scope_locked(scope text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'reflex_is_scope_locked';
COMMENT ON FUNCTION reflex.is_scope_locked(text) IS
'Does anybody hold the scope, this transaction included? Takes no lock; the answer may be out of date when it arrives. '
'Errors: PT422 scope is null or empty.';
REVOKE ALL ON FUNCTION reflex.is_scope_locked(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.is_scope_locked(text) TO reflex_app, reflex_monitor, reflex_admin;
