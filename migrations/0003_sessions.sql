-- Sessions, their turns and the permissions that agents ask for.

create table agent_sessions (
    project_id           text not null references projects (id) on delete cascade,
    id                   text not null,
    user_id              text not null,
    agent_id             text not null,
    container_session_id text,
    working_directory    text,
    title                text,
    status               text not null check (status in ('creating', 'active', 'ended')),
    -- Messages cover the log up to folded_to; what stands at or before cleared_to is not shown as history.
    folded_to            bigint not null default 0,
    cleared_to           bigint not null default 0,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now(),
    ended_at             timestamptz,
    primary key (project_id, id)
);

create unique index agent_sessions_by_container on agent_sessions (project_id, container_session_id)
    where container_session_id is not null;
create index agent_sessions_by_age on agent_sessions (project_id, created_at, id);
create index agent_sessions_alive on agent_sessions (project_id) where status <> 'ended';

create table turns (
    project_id          text not null references projects (id) on delete cascade,
    id                  text not null,
    session_id          text not null,
    user_id             text not null,
    state               text not null
        check (state in ('running', 'completed', 'cancelled', 'failed', 'stalled', 'lost')),
    container_turn_id   text,
    container_boot_id   text,  -- the container's boot that was given the prompt; a later one does not run it
    stop_reason         text,
    failure             text,
    message             text,
    cancel_requested_at timestamptz,
    started_at          timestamptz not null default now(),
    ended_at            timestamptz,
    primary key (project_id, id)
);

-- One turn at a time: whoever inserts the second one is told that the session is busy.
create unique index turns_one_running on turns (project_id, session_id) where state = 'running';
create index turns_by_session on turns (project_id, session_id, started_at);

create table permissions (
    project_id           text not null references projects (id) on delete cascade,
    id                   text not null,
    container_request_id text not null,
    container_boot_id    text,           -- the boot that asks; a later one may give the id to another request
    request_key          text not null,  -- which request it is: a digest of its boot, its session and its id there
    session_id           text not null,
    turn_id              text,
    agent_id             text,
    tool_call            bytea not null,
    options              bytea not null,
    state                text not null check (state in ('waiting', 'answering', 'selected', 'cancelled')),
    option_id            text,
    resolved_by          text,
    requested_at         timestamptz not null default now(),
    resolved_at          timestamptz,
    primary key (project_id, id)
);

create unique index permissions_by_request on permissions (project_id, request_key);
create index permissions_unsettled on permissions (project_id, requested_at)
    where state in ('waiting', 'answering');
