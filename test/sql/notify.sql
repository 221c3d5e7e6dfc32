-- Contacts, channels and notifications.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE regress_notify; GRANT reflex_admin TO regress_notify;
CREATE ROLE regress_notify_app; GRANT reflex_app TO regress_notify_app;
CREATE ROLE regress_notify_other; GRANT reflex_app TO regress_notify_other;

SET ROLE regress_notify;
SELECT reflex.create_contact('ann', '+493012345678');
SELECT reflex.create_contact('ann');
SELECT reflex.create_contact('bob');
SELECT reflex.create_contact('x', '030 12345');
SELECT reflex.create_contact('x', '+0301234567');
SELECT reflex.create_contact('x y');
SELECT reflex.update_contact('bob', 'x');
SELECT reflex.update_contact('nobody', '+493012345678');
SELECT contact, phone, owner FROM reflex.contacts ORDER BY contact;

SELECT reflex.notify('ann', title => 'Hello');
SELECT reflex.create_channel('sms', 'sms', '{}');
SELECT reflex.create_channel('wa', 'twilio.whatsapp', '{"account": "main"}');
SELECT reflex.create_channel('wa', 'twilio.whatsapp', '{"account": "main", "from": "123"}');
SELECT reflex.create_channel('wa', 'twilio.whatsapp', '{"account": "main", "from": "+14155238886"}');
SELECT reflex.create_channel('wa', 'twilio.whatsapp', '{"account": "main", "from": "+14155238886"}');
SELECT reflex.alter_channel('nobody', '{"account": "main", "from": "+14155238887"}');
SELECT name, kind, config, owner FROM reflex.channels;

SET ROLE regress_notify_app;
SELECT reflex.notify('nobody', body => 'Hello');
SELECT reflex.notify('bob', body => 'Hello');
SELECT reflex.notify('ann');
SELECT reflex.notify('ann', body => repeat('x', 1601));
SELECT reflex.notify('ann', 'policy', body => 'Hello');
SELECT reflex.notify('ann', body => 'Hello', due_at => now());
SELECT reflex.notify('ann', title => 'Hello', body => 'World') IS NOT NULL AS sent;
SELECT reflex.notify('ann', body => 'Else', account => 'other', sender => '+14155230000') IS NOT NULL AS sent;
SELECT contact, title, body, account, sender, role FROM reflex.notifications ORDER BY created_at;
SET ROLE regress_notify_other;
SELECT count(*) FROM reflex.notifications;
RESET ROLE;
SELECT payload FROM reflex_internal.effect WHERE type = 'twilio.message' AND payload ->> 'from' LIKE '%141552%' ORDER BY seq;

-- Several channels: one of them must be the default.
SELECT reflex.create_channel('second', 'twilio.whatsapp', '{"account": "main", "from": "+14155238887"}');
SELECT reflex.notify('ann', body => 'Hello');
SELECT reflex.create_channel('default', 'twilio.whatsapp', '{"account": "main", "from": "+14155238888"}');
SELECT reflex.notify('ann', body => 'Hello') IS NOT NULL AS sent;
SELECT sender FROM reflex.notifications ORDER BY created_at DESC LIMIT 1;

SET ROLE regress_notify_app;
SELECT reflex.create_contact('x');
SELECT count(*) FROM reflex.contacts;
RESET ROLE;
SELECT reflex.drop_channel(name) FROM reflex.channels;
SELECT reflex.drop_channel('wa');
SELECT reflex.delete_contact(contact) FROM reflex.contacts;
SELECT reflex.delete_contact('ann');
DROP ROLE regress_notify;
DROP ROLE regress_notify_app;
DROP ROLE regress_notify_other;
