-- Effects: their kinds, their attempts and outcomes, and what they need to be
-- sent.  The effects themselves are a log (sql/event/state.sql).

-- Rows come from reflex's own scripts alone; functions are named as they are
-- called, with their schema.  The signatures are in src/effect/kind.c.
CREATE TABLE reflex_internal.effect_kind (
    kind text PRIMARY KEY,
    public boolean NOT NULL,    -- may be emitted by anybody who may emit
    request text,               -- null: the payload is the form of the request
    outcome text,
    dead text
);

-- Append-only.  A row is on disk before the first byte of its attempt leaves.
CREATE TABLE reflex_internal.effect_attempt (
    seq bigint NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz NOT NULL,
    worker integer NOT NULL,    -- process id
    PRIMARY KEY (seq, attempt)
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.effect_attempt', '');

-- Append-only.  An attempt without one is under way, or its worker has ended.
CREATE TABLE reflex_internal.effect_outcome (
    seq bigint NOT NULL,
    attempt integer NOT NULL,
    at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('completed', 'failed', 'unknown')),
    dead boolean NOT NULL,      -- the effect became a dead letter with it
    status integer,
    latency interval,
    error text,
    answer text,                -- the first 8 kB
    PRIMARY KEY (seq, attempt)
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.effect_outcome', '');

-- Encrypted (src/pg/secret.c).  Not dumped: a dump must not carry secrets, not
-- even ones that need a key.
CREATE TABLE reflex_internal.secret (
    name text PRIMARY KEY,
    box bytea NOT NULL,
    hosts text[],               -- null: wherever the user of the secret sends it
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

CREATE TABLE reflex_internal.twilio_account (
    name text PRIMARY KEY,
    account_sid text NOT NULL,
    secret text NOT NULL,       -- name of the secret, which may come later
    base_url text NOT NULL,
    owner name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.twilio_account', '');
