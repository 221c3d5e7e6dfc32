-- Notifications: who is told (contact), through what (channel), and what was
-- said.  A notification is one row and one effect, written together.

CREATE TABLE reflex_internal.contact (
    name text PRIMARY KEY,
    phone text,
    owner name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.contact', '');

CREATE TABLE reflex_internal.channel (
    name text PRIMARY KEY,
    kind text NOT NULL,
    config jsonb NOT NULL,
    owner name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.channel', '');

CREATE SEQUENCE reflex_internal.notification_number;
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.notification_number', '');

CREATE TABLE reflex_internal.notification (
    id uuid PRIMARY KEY,
    number bigint NOT NULL,
    contact text NOT NULL,
    title text,
    body text,
    account text NOT NULL,
    sender text NOT NULL,
    effect uuid NOT NULL,
    role name NOT NULL,
    created_at timestamptz NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('reflex_internal.notification', '');
