-- Secrets.  In C, so that no error context and no statement of ours shows one.

CREATE OR REPLACE FUNCTION reflex.set_secret(name text, value text, hosts text[] DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'reflex_set_secret';
COMMENT ON FUNCTION reflex.set_secret(text, text, text[]) IS
'Stores a secret encrypted, or replaces it. hosts limits where it may be sent (host names, *.suffixes or addresses); null keeps the limit of before, if any. It can never be read back. The key is in the file reflex.secret_key_file, by default reflex.key in the data directory, made on first use. PT422: invalid name, value or host. F0000: the key file is missing or not safe.';
REVOKE ALL ON FUNCTION reflex.set_secret(text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.set_secret(text, text, text[]) TO reflex_admin;

CREATE OR REPLACE FUNCTION reflex.drop_secret(name text)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'reflex_drop_secret';
COMMENT ON FUNCTION reflex.drop_secret(text) IS
'Removes a secret. What uses it fails from then on until it is set again. PT404: there is none of this name.';
REVOKE ALL ON FUNCTION reflex.drop_secret(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.drop_secret(text) TO reflex_admin;

CREATE OR REPLACE VIEW reflex.secrets AS
SELECT s.name, s.hosts, s.created_at, s.updated_at
FROM reflex_internal.secret s;
COMMENT ON VIEW reflex.secrets IS 'The names of the secrets; their values are shown nowhere.';
REVOKE ALL ON reflex.secrets FROM PUBLIC;
GRANT SELECT ON reflex.secrets TO reflex_admin, reflex_monitor;
