-- A session knows its agent's mode, and whether the agent decides there by itself; agents know what credentials they take.

alter table agent_sessions
    add column agent_mode    text,
    add column agent_decides boolean not null default false;
alter table project_agents
    add column warning     text,
    add column credentials text[] not null default '{}';
