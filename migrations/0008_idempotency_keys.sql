-- What was answered to calls with an Idempotency-Key, so that a call that is sent again is done once.

-- A key belongs to a user and a project. It names what its call makes (a turn, a session) before anything happens, so
-- that whoever gets the call again after a crash goes on with that. While the call is worked on, holder has it until
-- held_until, on the database's clock; once status is there it is answered.
create table idempotency_keys (
    project_id  text not null references projects (id) on delete cascade,
    user_id     text not null,
    key         text not null,
    digest      bytea not null,    -- SHA-256 of method, path and body: another call must not have the same key
    resource_id text not null,
    holder      text not null,     -- one attempt of one gateway
    held_until  timestamptz not null,
    status      integer,
    location    text,
    body        bytea,
    created_at  timestamptz not null default now(),
    primary key (project_id, user_id, key)
);

create index idempotency_keys_by_age on idempotency_keys (created_at);
