-- Schemas, roles and who is calling.
--
-- Roles belong to the cluster, not to the database: they may be there already
-- from another database that has the extension, and DROP EXTENSION leaves them.

CREATE SCHEMA reflex;
CREATE SCHEMA reflex_internal;
COMMENT ON SCHEMA reflex IS 'reflex: the public functions and views';
COMMENT ON SCHEMA reflex_internal IS 'reflex: tables and internal functions, not for use';

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['reflex_admin', 'reflex_app', 'reflex_monitor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) v_role) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', v_role);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA reflex TO reflex_admin, reflex_app, reflex_monitor;

-- The role that called a SECURITY DEFINER function: SET ROLE's, else the login's.
CREATE FUNCTION reflex_internal.caller() RETURNS name
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'none'
                THEN session_user
                ELSE pg_catalog.current_setting('role')::name END
$$;
REVOKE ALL ON FUNCTION reflex_internal.caller() FROM PUBLIC;
