-- Secrets: stored encrypted, shown nowhere.
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.box(text) RETURNS bytea LANGUAGE sql
AS $$ SELECT box FROM reflex_internal.secret WHERE name = $1 $$;

SELECT reflex.set_secret('api/key', 'sk-sentinel-1');
SELECT name, hosts, updated_at >= created_at AS dated FROM reflex.secrets;
SELECT length(pg_temp.box('api/key')) AS bytes,
       position('sentinel'::bytea IN pg_temp.box('api/key')) AS found;

-- the same value twice is not the same box, and a new value replaces the old
SELECT pg_temp.box('api/key') AS before \gset
SELECT reflex.set_secret('api/key', 'sk-sentinel-1');
SELECT pg_temp.box('api/key') <> :'before' AS changed, count(*) FROM reflex.secrets;

-- hosts stay when only the value changes
SELECT reflex.set_secret('api/key', 'sk-sentinel-2', '{api.example.com,*.example.org}');
SELECT reflex.set_secret('api/key', 'sk-sentinel-3');
SELECT name, hosts FROM reflex.secrets;

-- what is refused, without saying what the value was
SELECT reflex.set_secret('', 'sk-sentinel-4');
\echo :LAST_ERROR_SQLSTATE
SELECT reflex.set_secret('no spaces', 'sk-sentinel-4');
SELECT reflex.set_secret('env:HOME', 'sk-sentinel-4');
SELECT reflex.set_secret(repeat('x', 129), 'sk-sentinel-4');
SELECT reflex.set_secret('empty', '');
\echo :LAST_ERROR_SQLSTATE
SELECT reflex.set_secret('long', repeat('sk-sentinel-4', 10000));
SELECT reflex.set_secret('null', NULL);
SELECT reflex.set_secret('nowhere', 'sk-sentinel-4', '{}');
SELECT reflex.set_secret('scheme', 'sk-sentinel-4', '{https://api.example.com}');
SELECT reflex.set_secret('null host', 'sk-sentinel-4', ARRAY[NULL]::text[]);
SELECT reflex.set_secret('nullhost', 'sk-sentinel-4', ARRAY[NULL]::text[]);
SELECT name FROM reflex.secrets;

-- who may
SET ROLE reflex_app;
SELECT reflex.set_secret('app', 'sk-sentinel-5');
SELECT * FROM reflex.secrets;
SELECT * FROM reflex_internal.secret;
SET ROLE reflex_admin;
SELECT reflex.set_secret('admin', 'sk-sentinel-6');
SELECT name FROM reflex.secrets ORDER BY name;
SELECT * FROM reflex_internal.secret;
SELECT reflex.drop_secret('admin');
SELECT reflex.drop_secret('admin');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

SELECT reflex.drop_secret('api/key');
SELECT count(*) FROM reflex.secrets;
