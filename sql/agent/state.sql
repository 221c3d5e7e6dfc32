-- Agents: who can be asked (provider), how (agent), and what was asked and
-- answered (run, run_step, run_result).
--
-- Runs are append-only.  A run is three kinds of rows, written in this order
-- and never changed: the run itself with the agent's definition as it was,
-- one step per answer of the model, and the result.  What a run has come to is
-- read from which of these rows exist.

CREATE TABLE reflex_internal.provider (
    name text PRIMARY KEY,
    kind text NOT NULL,
    base_url text NOT NULL,
    secret text,
    headers jsonb NOT NULL,
    owner name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.provider', '');

CREATE TABLE reflex_internal.agent (
    name text PRIMARY KEY,
    model text,
    instructions text,
    output_schema jsonb,
    max_output_tokens int,
    temperature numeric,
    timeout interval,
    max_retries int NOT NULL,
    owner name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.agent', '');

CREATE SEQUENCE reflex_internal.run_number;
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.run_number', '');

CREATE TABLE reflex_internal.run (
    id uuid PRIMARY KEY,
    number bigint NOT NULL,
    agent text NOT NULL,
    definition jsonb NOT NULL,
    input jsonb NOT NULL,
    session text,
    role name NOT NULL,
    meta jsonb,                     -- of what the run sends and publishes: its trace context
    created_at timestamptz NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.run', '');

CREATE TABLE reflex_internal.run_step (
    run uuid NOT NULL,
    step int NOT NULL,
    kind text NOT NULL,
    content jsonb NOT NULL,
    usage jsonb,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (run, step)
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.run_step', '');

CREATE TABLE reflex_internal.run_result (
    run uuid PRIMARY KEY,
    status text NOT NULL CHECK (status OPERATOR(pg_catalog.=) ANY (ARRAY['completed', 'failed'])),
    result jsonb,
    error text,
    usage jsonb,
    finished_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.run_result', '');
