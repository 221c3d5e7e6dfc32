-- Who may call the functions of the log.  Other rooms grant beside their functions.

GRANT EXECUTE ON FUNCTION
    reflex.publish(text, jsonb, text, text, jsonb, text, timestamptz),
    reflex.publish_many(jsonb),
    reflex.cancel_delayed(uuid),
    reflex.subscribe(text, text[], jsonb, boolean, text, integer, interval, interval),
    reflex.unsubscribe(text),
    reflex.receive(text, integer, interval, interval),
    reflex.ack(text),
    reflex.ack(text[]),
    reflex.nack(text, text, interval),
    reflex.extend(text, interval),
    reflex.replay(timestamptz, timestamptz, text[], text)
TO reflex_app, reflex_admin;

GRANT EXECUTE ON FUNCTION
    reflex.dlq_list(text, bigint, integer, text, text, timestamptz, timestamptz),
    reflex.dlq_show(uuid, text)
TO reflex_monitor, reflex_app, reflex_admin;

GRANT EXECUTE ON FUNCTION
    reflex.dlq_retry(uuid, text, jsonb),
    reflex.dlq_retry_all(text, text, text, timestamptz, timestamptz, integer, numeric),
    reflex.dlq_purge(text, uuid, text, text, timestamptz, timestamptz)
TO reflex_admin;

GRANT EXECUTE ON FUNCTION reflex.deliveries_of(uuid) TO reflex_monitor, reflex_admin;

GRANT SELECT ON
    reflex.events, reflex.dead_letters, reflex.subscriptions, reflex.deliveries, reflex.stats
TO reflex_monitor, reflex_admin;
