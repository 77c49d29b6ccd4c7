-- Whose credential a session and an agent's process run with, and which credentials a project's container was given.

alter table agent_sessions add column credential_user_id text;

create table given_credentials (
    project_id        text not null references projects (id) on delete cascade,
    agent_id          text not null,
    user_id           text not null,
    owner             text not null,  -- what the container knows the user as: says nothing, and nobody can guess it
    version           bigint not null,
    container_boot_id text,           -- the boot that has taken this version; null: none has, or it has no boots
    taken             boolean not null default false,
    known_to          text,           -- the gateway that masks this version's secrets in what the container says
    given_at          timestamptz not null default now(),
    primary key (project_id, agent_id, user_id)
);

create unique index given_credentials_by_owner on given_credentials (project_id, owner);
create index given_credentials_by_user on given_credentials (user_id, agent_id);
create index given_credentials_by_time on given_credentials (given_at);

-- In a container of the base contract an agent has one process, and that has one environment.
create sequence agent_process_claims;

create table agent_processes (
    project_id  text not null references projects (id) on delete cascade,
    agent_id    text not null,
    user_id     text,    -- whose credential it has; null: nobody's
    version     bigint,
    claim       bigint not null default nextval('agent_process_claims'),
    starting_by text,    -- the gateway that is having it started; null: it was started
    primary key (project_id, agent_id)
);
