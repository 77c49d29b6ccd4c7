-- The version before knows none of it.

alter table project_agents drop column warning, drop column credentials;
alter table agent_sessions drop column agent_mode, drop column agent_decides;
