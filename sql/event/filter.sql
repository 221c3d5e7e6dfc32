-- Filters: which events pass.  They are evaluated in src/event/filter_match.c.

-- Raises unless it is a filter; null is one that lets everything pass.
CREATE OR REPLACE FUNCTION reflex_internal.filter_check(p_filter jsonb) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_filter_check';
REVOKE ALL ON FUNCTION reflex_internal.filter_check(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION reflex.test_filter(filter jsonb, event jsonb) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'reflex_test_filter';
COMMENT ON FUNCTION reflex.test_filter(jsonb, jsonb) IS
'Tries a filter, as subscriptions and rules have them, on an event {type, source, session, payload, meta, created_at} that need not exist. '
'Returns {"matches": boolean, "reason": text, "at": JSON Pointer}: which part of the filter said no, and why; nulls when it matches. '
'Filters: {"type": ["order.*", "refund"]}, {"source": [...]} likewise; '
'{"keyword": ["late"]}: one of these is in a string of the payload, whatever its case, or with "in": path in the text of what a jsonpath selects; '
'{"match": path}: a jsonpath that is true, or finds something; {"all": [filter, ...]}, {"any": [...]}, {"not": filter}. '
'Several in one object mean all; {} lets everything pass. Paths are evaluated on the event, without variables, created_at as text in UTC; one that fails matches nothing. '
'Errors: PT422 invalid filter (DETAIL says where) or event, 0A000 rate_limit, dedupe and function are not yet supported.';
REVOKE ALL ON FUNCTION reflex.test_filter(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reflex.test_filter(jsonb, jsonb) TO reflex_app, reflex_admin;
