-- What has happened so far, a line each: key, seconds since :start, text.
-- The demo asks again and again and tells what it has not told before.

SELECT 'event ' || event_id, round(extract(epoch FROM created_at) - :start, 2),
       format('%-14s %s %s', 'postgres.error', payload ->> 'sqlstate', payload ->> 'message')
FROM reflex.replay(to_timestamp(:start), types => '{postgres.error}')
UNION ALL
SELECT 'run ' || id, round(extract(epoch FROM finished_at) - :start, 2),
       format('%-14s %s: %s', 'triage', coalesce(upper(result ->> 'severity'), status), coalesce(result ->> 'summary', error))
FROM reflex.runs WHERE finished_at IS NOT NULL
UNION ALL
SELECT format('attempt %s %s', o.seq, o.attempt), round(extract(epoch FROM o.at) - :start, 2),
       format('%-14s attempt %s %s', e.type, o.attempt,
              CASE o.outcome WHEN 'completed' THEN 'delivered: HTTP ' || o.status ELSE 'failed: ' || o.error END)
FROM reflex_internal.effect_outcome o JOIN reflex_internal.effect e USING (seq)
WHERE e.type <> 'model' OR o.outcome <> 'completed'
UNION ALL
SELECT 'dead ' || id, round(extract(epoch FROM dead_at) - :start, 2),
       format('%-14s given up after %s attempts: a dead letter', type, attempts)
FROM reflex.dlq_list()
ORDER BY 2;
