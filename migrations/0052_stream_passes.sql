-- Passes to event streams for browsers: tickets, which open one once, and the cookies that they are exchanged for.

create table stream_passes (
    project_id text not null references projects (id) on delete cascade,
    digest     bytea not null,    -- SHA-256 of 256 random bits
    kind       text not null check (kind in ('ticket', 'cookie')),
    session_id text,              -- null: the project's own stream
    user_id    text not null,
    mode       text not null,     -- how whoever got it had identified themselves
    token_id   text,              -- the API token that they had shown: ends with it
    ends_at    timestamptz,       -- when the credential ends that they had shown, where it does
    expires_at timestamptz not null,
    primary key (project_id, digest)
);

create index stream_passes_by_end on stream_passes (expires_at);
