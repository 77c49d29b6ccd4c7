-- Projects: who owns them, where their containers are, which agent is asked when none is named.

create table projects (
    id               text primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    owner_id         text not null,
    name             text not null,
    container_url    text not null,
    acp_url          text,
    default_agent_id text,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now()
);

create index projects_by_owner on projects (owner_id, created_at, id);

-- What a container last said of its agents, for the time when it is away.
create table project_agents (
    project_id    text not null references projects (id) on delete cascade,
    agent_id      text not null,
    name          text not null,
    description   text,
    requires_auth boolean not null default false,
    authenticated boolean not null default false,
    status        text not null,
    error         text,
    updated_at    timestamptz not null default now(),
    primary key (project_id, agent_id)
);
