-- Credentials that containers are to give back, kept until they have: a gateway that stops forgets none.

create table withdrawals (
    project_id             text not null,  -- whose container it was; the project may be deleted
    id                     bigint generated always as identity,
    -- Where the container is, as the project had it.
    container_url          text not null,
    acp_url                text,
    sealed_container_token bytea,
    has_moved              boolean not null,  -- the project left the container for another
    -- The credentials, by agent and owner; and the processes that have one, by agent and claim.
    agent_ids              text[] not null,
    owners                 text[] not null,
    process_agent_ids      text[] not null,
    process_claims         bigint[] not null,
    attempts               integer not null default 0,  -- those that have begun
    next_at                timestamptz not null default clock_timestamp(),
    created_at             timestamptz not null default clock_timestamp(),
    primary key (project_id, id)
);

create index withdrawals_due on withdrawals (next_at);
