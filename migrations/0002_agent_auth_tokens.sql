-- Users' tokens for agents, sealed: nothing in this table can be read without the gateway's key.

create table agent_auth_tokens (
    user_id              text not null,
    agent_id             text not null,
    token_type           text not null,
    sealed_access_token  bytea not null,
    sealed_refresh_token bytea,
    key_id               text not null,
    scopes               text[] not null default '{}',
    expires_at           timestamptz,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now(),
    primary key (user_id, agent_id)
);
