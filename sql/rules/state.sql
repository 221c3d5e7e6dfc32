-- Rules: what reacts to which events, and on whose behalf.
--
-- One subscription, reflex.rules, reads the event log for all rules; each rule
-- has another, rule:<name>, that only holds what failed for it and is to be
-- tried again.

CREATE TABLE reflex_internal.rule (
    name text PRIMARY KEY,
    owner name NOT NULL,
    enabled boolean NOT NULL,
    filter jsonb NOT NULL,
    trigger jsonb NOT NULL,
    action jsonb NOT NULL,
    since_seq bigint NOT NULL,      -- sees events from this position on,
    since_held bigint[] NOT NULL,   -- and what was held below it: bounds of half-open ranges
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.rule', '');
