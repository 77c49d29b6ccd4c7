-- API tokens: whose each is, what it allows at most, and how long it is good.

create table api_tokens (
    id           text primary key,
    user_id      text not null check (length(user_id) between 1 and 200),
    name         text,
    digest       bytea not null unique,  -- SHA-256: the token has 256 random bits, which nobody guesses from it
    max_role     text not null check (max_role in ('viewer', 'operator', 'admin')),
    projects     text[],                 -- null: all that the user may use
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz             -- within some minutes
);

create index api_tokens_by_user on api_tokens (user_id, created_at);
