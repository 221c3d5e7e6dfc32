-- Who may see the workers; and what they look like when all is well.
DO $$
BEGIN
    FOR i IN 1 .. 500 LOOP
        EXIT WHEN (SELECT pg_catalog.count(*) FROM reflex.workers
                   WHERE database = pg_catalog.current_database() AND state IN ('running', 'sleeping')) = 2;
        PERFORM pg_catalog.pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT kind, pid IS NOT NULL AS runs, errors, last_error, since < pg_catalog.now() + '1 s' AS since
FROM reflex.workers WHERE database = pg_catalog.current_database() ORDER BY kind;

CREATE ROLE worker_test_stranger;
CREATE ROLE worker_test_monitor IN ROLE reflex_monitor;
SET ROLE worker_test_stranger;
SELECT count(*) FROM reflex.workers;
RESET ROLE;
SET ROLE worker_test_monitor;
SELECT count(*) > 0 AS sees FROM reflex.workers;
RESET ROLE;
DROP ROLE worker_test_stranger, worker_test_monitor;

-- A list that is none is refused where it is set.
SET client_min_messages = error;
ALTER SYSTEM SET reflex.databases = 'a, ,b';
