-- The workers, as the launcher and they themselves report them.

CREATE OR REPLACE FUNCTION reflex_internal.workers(
    OUT database_oid oid, OUT kind text, OUT pid int, OUT state text, OUT duty text,
    OUT errors bigint, OUT last_error text, OUT since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'reflex_workers';
REVOKE ALL ON FUNCTION reflex_internal.workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex_internal.workers() TO reflex_admin, reflex_monitor;

CREATE OR REPLACE VIEW reflex.workers AS
SELECT d.datname AS database, w.kind, w.pid, w.state, w.duty, w.errors, w.last_error, w.since
FROM reflex_internal.workers() w
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) w.database_oid;
COMMENT ON VIEW reflex.workers IS
'Workers of all databases of this server: kind (io: sockets and timers; sql: rules and handlers), '
'state (waiting, starting, probing, running, sleeping, letting go, ended), the duty under way, '
'errors since the worker was first wanted, the text of the last one, and since when its process runs '
'or, where it has none, since when it waits.';
GRANT SELECT ON reflex.workers TO reflex_admin, reflex_monitor;

-- Workers come when this transaction commits.
CREATE OR REPLACE FUNCTION reflex_internal.workers_wanted() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'reflex_workers_wanted';
REVOKE ALL ON FUNCTION reflex_internal.workers_wanted() FROM PUBLIC;
SELECT reflex_internal.workers_wanted();
