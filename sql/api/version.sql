CREATE OR REPLACE FUNCTION reflex.version() RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_version';
COMMENT ON FUNCTION reflex.version() IS 'The version of the reflex library that this server has loaded.';
