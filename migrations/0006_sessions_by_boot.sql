-- Tells at once whether a container's session is another project's.

create index agent_sessions_by_boot on agent_sessions (container_boot_id, container_session_id)
    where container_boot_id is not null;
