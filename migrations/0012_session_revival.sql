-- What it takes to take a session up again: the agent's own id for it, and what cannot be given back.

alter table agent_sessions add column acp_session_id text;
alter table agent_sessions add column container_boot_id text;  -- the boot that has container_session_id
alter table agent_sessions add column has_mcp_servers boolean not null default false;

-- Which of the session's container sessions the prompt was given to.
alter table turns add column container_session_id text;
create index turns_by_container_session on turns (project_id, container_session_id, started_at)
    where container_session_id is not null;
