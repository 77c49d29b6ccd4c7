-- Forgets all sessions, turns and permissions.

drop table permissions;
drop table turns;
drop table agent_sessions;
