-- Lists are in the order in which sessions were created, and OpenCode is given no password.

create index agent_sessions_by_age on agent_sessions (project_id, created_at, id);
drop table session_activity;
drop index events_for_sessions;
alter table projects drop column opencode_username, drop column sealed_opencode_password;
