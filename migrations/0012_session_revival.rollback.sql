-- Takes back what taking sessions up again needs.

drop index turns_by_container_session;
alter table turns drop column container_session_id;
alter table agent_sessions drop column has_mcp_servers;
alter table agent_sessions drop column container_boot_id;
alter table agent_sessions drop column acp_session_id;
