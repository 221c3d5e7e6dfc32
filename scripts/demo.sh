#!/usr/bin/env bash
# demo.sh [--keep]: a database that watches itself, in less than a minute.
#
#   --keep  leaves the server running until you are done with it, with psql
#           and things to try
#
# A throwaway server writes its log as JSON, and publishes each new error in it
# as an event.  A rule hands the error to an agent, which says how severe it is
# and what to do; a second rule tells Slack and WhatsApp about the severe ones.
# Slack is down at first.
#
# The model is a mock, unless one of these is set:
#   OPENAI_API_KEY        OpenAI
#   OPENROUTER_API_KEY    OpenRouter
#   REFLEX_DEMO_BASE_URL  any OpenAI-compatible server, as http://127.0.0.1:11434/v1
# REFLEX_DEMO_MODEL names the model, REFLEX_DEMO_API_KEY is the key of the last.
# Slack and Twilio are small programs of the demo; nothing else leaves the machine.
set -euo pipefail
# shellcheck source=scripts/install-deps.sh
. "$(dirname "${BASH_SOURCE[0]}")/install-deps.sh"

keep=
case ${1:-} in
	'') ;;
	--keep) keep=1 ;;
	-h | --help) help_of "$0"; exit ;;
	*) die "unknown option \"$1\"; see --help" ;;
esac

now()
{
	printf '%s' "$EPOCHREALTIME"
}

since_start()
{
	awk "BEGIN { printf \"%6.2f s\", $(now) - $start }"
}

# What the demo says about itself, set off from what happens.
tell()
{
	printf '\n%s\n' "$*"
}

# The text of a statement, and what it answers.
show()
{
	printf '\n  reflex=# %s\n' "$1"
	db "$server" -P pager=off -c "$1" | sed '/^$/d; s/^/  /'
}

# Every line of the story that has not been told yet.
declare -A told=()
tell_news()
{
	local key at text

	while IFS=$'\t' read -r key at text; do
		[ -z "${told[$key]:-}" ] || continue
		told[$key]=1
		printf '%8s s  %s\n' "$at" "$text"
	done < <(db "$server" -At -F $'\t' -v "start=$start" -f "$work/demo/story.sql")
}

# follow SECONDS QUERY: tells the news until the query says t.
follow()
{
	local deadline=$((SECONDS + $1))

	while :; do
		tell_news
		[ "$(db "$server" -Atc "$2")" != t ] || break
		[ "$SECONDS" -lt "$deadline" ] || give_up "waited $1 s in vain"
		sleep 0.2
	done
	tell_news
}

# What the server and the watching session said last, before they are gone.
give_up()
{
	tail -n 5 "$work/look.log"
	grep -hE '"(ERROR|FATAL|PANIC|WARNING)"' "$server"/data/log/*.json | tail -n 5
	die "$1"
}

# Whose model, and under which address: base_url, model, PROVIDER_KEY.
choose_model()
{
	export PROVIDER_KEY=
	if [ -n "${REFLEX_DEMO_BASE_URL:-}" ]; then
		base_url=$REFLEX_DEMO_BASE_URL model=${REFLEX_DEMO_MODEL:-llama3.2}
		PROVIDER_KEY=${REFLEX_DEMO_API_KEY:-}
	elif [ -n "${OPENAI_API_KEY:-}" ]; then
		base_url=https://api.openai.com/v1 model=${REFLEX_DEMO_MODEL:-gpt-4o-mini}
		PROVIDER_KEY=$OPENAI_API_KEY
	elif [ -n "${OPENROUTER_API_KEY:-}" ]; then
		base_url=https://openrouter.ai/api/v1 model=${REFLEX_DEMO_MODEL:-openai/gpt-4o-mini}
		PROVIDER_KEY=$OPENROUTER_API_KEY
	else
		mock_port=$(free_port)
		base_url=http://127.0.0.1:$mock_port/v1 model=mock
	fi
	model_host=${base_url#*://}
	model_host=${model_host%%[:/]*}
}

start_mock()
{
	link_peers "$work"
	spawn llmock -h 127.0.0.1 -p "$mock_port" -f "$work/demo/fixtures.json" --log-level warn >"$work/mock.log" 2>&1
	wait_for 15 listening "$mock_port" || { cat "$work/mock.log"; die "the mock model does not start"; }
}

# start_receiver slack|twilio PORT: what it gets is in $work/KIND.txt.
start_receiver()
{
	spawn python3 "$work/demo/receiver.py" "$1" "$2" "$work/$1.txt" >"$work/$1.log" 2>&1
	wait_for 10 listening "$2" || { cat "$work/$1.log"; die "the receiver does not start"; }
}

listening()
{
	(: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start_server()
{
	server_init "$server" <<-CONF
		# Its log as JSON, for itself to read.
		logging_collector = on
		log_destination = 'jsonlog'
		log_filename = 'demo.log'
		deadlock_timeout = 200ms
		reflex.databases = 'postgres'
		reflex.allowed_hosts = '127.0.0.1, $model_host'
		reflex.event_max_attempts = 4
	CONF
	server_start "$server"
	db "$server" -c 'create extension reflex' -f "$work/demo/watch.sql"
	PSQLRC=/dev/null db "$server" -o /dev/null -v "base_url=$base_url" -v "model=$model" \
		-v "slack_url=http://127.0.0.1:$slack_port/services/T0/B0/secret" \
		-v "twilio_url=http://127.0.0.1:$twilio_port" \
		-f - < <(echo '\getenv provider_key PROVIDER_KEY'; cat "$work/demo/setup.sql")
	spawn "$pg_bin/psql" -X -q -h "$server" -U postgres -f "$work/demo/look.sql" >"$work/look.log" 2>&1
}

# A session of the shop: what it says is not of interest, what the log says is.
shop()
{
	PGAPPNAME=shop db "$server" -c "$1" >/dev/null 2>&1 || true
}

make_errors()
{
	shop "insert into demo.orders values (1, 99.90, 3)"
	shop "select total / items from demo.orders"
	shop "set statement_timeout = '200ms'; select count(*), pg_sleep(5) from demo.orders"
	shop "begin; update demo.account set balance = balance - 1 where id = 1; select pg_sleep(0.3);
		update demo.account set balance = balance + 1 where id = 2; commit" &
	shop "begin; update demo.account set balance = balance - 1 where id = 2; select pg_sleep(0.3);
		update demo.account set balance = balance + 1 where id = 1; commit"
	wait $!
}

received()
{
	[ ! -s "$work/$1.txt" ] || sed "s/^/  $1 got: /" "$work/$1.txt"
}

try_out()
{
	tell "The server stays. In another terminal:"
	say "  $pg_bin/psql -h $server -U postgres"
	cat <<-'TRY'

		Things to try:
		  select 1/0;                                        -- with: set application_name = 'shop';
		  select * from demo.triage;                         -- what the agent was asked, and said
		  select * from reflex.effects;                      -- what went out
		  select * from reflex.workers;                      -- who does it
		  select pg_terminate_backend(pid) from reflex.workers;   -- it goes on all the same
		  select reflex.run_agent('triage', '"disk full on /var"');
		  select reflex.publish('postgres.error', '{"message": "out of memory"}');
		  begin; select reflex.notify('oncall', body => 'never sent'); rollback;
	TRY
	if [ -t 0 ]; then
		tell "When you leave this psql (\\q), the demo cleans up."
		trap '' INT
		"$pg_bin/psql" -X -h "$server" -U postgres || true
	else
		tell "Ctrl-C ends it and cleans up."
		attend sleep infinity
	fi
}

begin()
{
	install_deps demo
	make -s -C "$root" -j"$(nproc)"
	as_root make -s -C "$root" install >/dev/null
	begin_work demo
	cp -r "$root/demo" "$work/demo"
	[ ${#as_pg[@]} -eq 0 ] || chown -R "$pg_user" "$work/demo"
	server=$work/server
	slack_port=$(free_port) twilio_port=$(free_port)
	choose_model
	start=$(now)
}

begin
tell "A PostgreSQL $pg_major starts, with reflex in it. The model is $model at $model_host; Slack is down."
[ -z "${mock_port:-}" ] || start_mock
start_receiver twilio "$twilio_port"
start_server
say "It is ready after $(since_start)."
show "select name, filter, action from reflex.rules"

tell "Now a shop makes four mistakes in it. Nobody calls reflex: the database reads its own log."
make_errors
follow 90 "select count(*) = 4 and bool_and(status = 'failed' or exists (select from demo.triage where run = id)) from reflex.runs"

if [ "$(db "$server" -Atc "select exists (select from reflex.effects where kind = 'slack')")" = f ]; then
	tell "The model found none of them severe, so nobody was told."
else
	tell "Severe ones go to Slack and WhatsApp. Slack does not answer: the waiting time doubles (with jitter), then reflex gives up."
	follow 60 "select bool_and(state in ('completed', 'dead')) from reflex.effects"
	received twilio

	tell "Nothing is lost. What could not be delivered is a dead letter, with everything that was tried:"
	show "select event_id, type, attempts, error from reflex.dlq_list()"
	tell "Slack comes back, and somebody has them tried again:"
	start_receiver slack "$slack_port"
	show "select event_id, reflex.dlq_retry(event_id) from reflex.dlq_list()"
	follow 30 "select bool_and(state = 'completed') from reflex.effects"
	received slack
fi

tell "After $(since_start): $(db "$server" -Atc "select format('%s errors, %s answers, %s effects delivered, %s dead letters left',
	(select count(*) from reflex.replay('-infinity', types => '{postgres.error}')),
	(select count(*) from reflex.runs where status = 'completed'),
	(select count(*) from reflex.effects where state = 'completed' and kind <> 'model'),
	(select count(*) from reflex.dlq_list()))")."
[ -z "$keep" ] || try_out
