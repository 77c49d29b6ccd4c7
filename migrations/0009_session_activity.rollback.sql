-- Lists are in the order in which sessions were created.

drop table session_activity;
drop index events_for_sessions;
