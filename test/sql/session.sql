-- Sessions named after a user, an agent and a thread.
\set SHOW_CONTEXT never
SELECT reflex.session_key('ann', 'coach', 'monday');
SELECT reflex.session_key('a:b', 'c%3Ad', ''), reflex.session_key(NULL, 'x', NULL);
SELECT * FROM reflex.session_parts('ann:coach:monday');
SELECT user_id, agent_id, thread_id, thread_id = '' AS empty FROM reflex.session_parts('a%3Ab:c%253Ad:%');
SELECT reflex.session_parts(NULL);

-- taken apart is what went in, and no two of them share a key
CREATE TEMP TABLE part (part text);
INSERT INTO part VALUES (NULL), (''), ('a'), (':'), ('::'), ('%'), ('%%'), ('%3A'), ('%25'), ('%253A'), ('%:'), (':%'),
    ('a:b'), (E'line\nline'), ('\'), ('"'), ('größer'), (' ');
SELECT count(*), count(DISTINCT reflex.session_key(u.part, a.part, t.part)) AS keys,
       count(*) FILTER (WHERE (p.user_id, p.agent_id, p.thread_id) IS DISTINCT FROM (u.part, a.part, t.part)) AS wrong
FROM part u, part a, part t, reflex.session_parts(reflex.session_key(u.part, a.part, t.part)) p;

-- what was not made so is refused
SELECT reflex.session_parts('');
SELECT reflex.session_parts('a:b');
SELECT reflex.session_parts('a:b:c:d');
SELECT reflex.session_parts('a:b:%3');
SELECT reflex.session_parts('a:b%:c');
SELECT reflex.session_parts('%%:b:c');

-- with a session of an event
SELECT reflex.subscribe('keyed', types => ARRAY['keyed']);
SELECT reflex.publish('keyed', session => reflex.session_key('ann', 'coach', '1:2')) IS NOT NULL;
SELECT p.* FROM reflex.receive('keyed') r, reflex.session_parts(r.session) p;
SELECT reflex.unsubscribe('keyed');
