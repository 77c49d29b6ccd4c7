-- Lists are in the order in which sessions were created, and OpenCode is given no password.

drop table session_activity;
drop index events_for_sessions;
alter table projects drop column opencode_username, drop column sealed_opencode_password;
