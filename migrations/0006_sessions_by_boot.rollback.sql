-- It takes longer to tell.

drop index agent_sessions_by_boot;
