-- Who thinks, who decides, and who is told.
--
-- psql variables: base_url, model, slack_url, twilio_url, and provider_key
-- (empty for none), which comes from the environment so that no command line
-- and no log shows it.

SET log_min_error_statement = panic;

-- The model, and what it shall answer: this and nothing else is accepted.
SELECT reflex.set_secret('model-key', :'provider_key') WHERE :'provider_key' <> '';
SELECT reflex.create_provider('demo', base_url => :'base_url',
    secret => nullif('model-key', CASE :'provider_key' WHEN '' THEN 'model-key' END));
SELECT reflex.create_agent('triage', model => 'demo:' || :'model',
    instructions => 'You are the on-call engineer of a shop that runs on PostgreSQL. You get one error from its log. '
        'Say how severe it is for the business (low, medium, high), what has happened in one sentence, and what to do. '
        'A deadlock is of high severity.',
    output_schema => '{
        "type": "object",
        "properties": {
            "severity": {"type": "string", "enum": ["low", "medium", "high"]},
            "summary": {"type": "string"},
            "action": {"type": "string"}
        },
        "required": ["severity", "summary", "action"],
        "additionalProperties": false
    }');

-- The people who are told: a Slack channel, and somebody's WhatsApp.
SELECT reflex.set_secret('slack-webhook', :'slack_url');
SELECT reflex.set_secret('twilio-token', 'not a real one');
SELECT reflex.create_twilio_account('demo', 'AC00000000000000000000000000000000', 'twilio-token', :'twilio_url');
SELECT reflex.create_channel('default', 'twilio.whatsapp', '{"account": "demo", "from": "+15005550006"}');
SELECT reflex.create_contact('oncall', '+491701234567');

-- What is done with an answer.  Effects leave when this transaction commits.
CREATE TABLE demo.triage (run uuid PRIMARY KEY, severity text, summary text, action text, error jsonb);
CREATE FUNCTION demo.route(event jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_answer demo.triage := jsonb_populate_record(NULL::demo.triage,
        event #> '{payload,result}' || jsonb_build_object(
            'run', event #> '{payload,run}', 'error', event #> '{payload,input}'));
BEGIN
    INSERT INTO demo.triage VALUES (v_answer.*);
    IF v_answer.severity = 'high' THEN
        PERFORM reflex.emit('slack', jsonb_build_object(
            'webhook', 'slack-webhook',
            'text', format('[%s] %s To do: %s', v_answer.severity, v_answer.summary, v_answer.action)));
        PERFORM reflex.notify('oncall', title => 'Database trouble', body => v_answer.summary);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION demo.route(jsonb) FROM PUBLIC;

-- The two rules: an error wakes the agent, its answer wakes the router.
SELECT reflex.create_rule('triage-errors', '{"type": ["postgres.error"]}',
    action => '{"agent": "triage", "input": {"$": "$.payload"}}');
SELECT reflex.create_rule('route-answers', '{"type": ["agent.completed"]}',
    action => '{"function": "demo.route"}');

-- The shop whose database this is.
CREATE TABLE demo.orders (id int PRIMARY KEY, total numeric, items int);
CREATE TABLE demo.account (id int PRIMARY KEY, balance numeric);
INSERT INTO demo.orders VALUES (1, 99.90, 3), (2, 0, 0);
INSERT INTO demo.account VALUES (1, 100), (2, 100);
