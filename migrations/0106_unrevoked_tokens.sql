-- Tokens that are over here, and whose provider could not be told so yet; the row goes with the last try.

create table unrevoked_tokens (
    id                   text primary key,
    provider_id          text not null,
    sealed_access_token  bytea not null,
    sealed_refresh_token bytea,
    key_id               text not null,
    attempts             integer not null default 0,  -- those that have begun
    next_at              timestamptz not null,
    created_at           timestamptz not null default now()
);

create index unrevoked_tokens_due on unrevoked_tokens (next_at);
