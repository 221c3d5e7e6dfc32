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

GRANT EXECUTE ON FUNCTION reflex.dlq_list(text, bigint, integer)
TO reflex_monitor, reflex_app, reflex_admin;

GRANT EXECUTE ON FUNCTION reflex.dlq_retry(uuid, text), reflex.dlq_purge(text, uuid)
TO reflex_admin;

GRANT SELECT ON reflex.events, reflex.dead_letters TO reflex_monitor, reflex_admin;
