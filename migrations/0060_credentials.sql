-- What becomes of a credential over time: whose it is, until when, in which state, and a version for each change.

create sequence agent_auth_token_versions;

-- Nothing could be sealed before, so nothing is stored; whatever stands here was never readable.
delete from agent_auth_tokens;

alter table agent_auth_tokens add column provider_id text;
alter table agent_auth_tokens add column subject text;
alter table agent_auth_tokens add column refresh_expires_at timestamptz;
alter table agent_auth_tokens add column state text not null default 'authorized'
    check (state in ('authorized', 'needs_reauth'));
alter table agent_auth_tokens add column state_reason text;
-- From one sequence for all: a row that was deleted and made anew is never taken for the former one.
alter table agent_auth_tokens add column version bigint not null default nextval('agent_auth_token_versions');
alter table agent_auth_tokens add column fingerprint text not null;
alter table agent_auth_tokens add constraint agent_auth_tokens_token_type_check
    check (token_type in ('api_key', 'oauth', 'token'));

create index agent_auth_tokens_by_key on agent_auth_tokens (key_id);
create index agent_auth_tokens_by_end on agent_auth_tokens (expires_at)
    where state = 'authorized' and sealed_refresh_token is not null;

-- A constant sealed under each key: tells a wrong key under a known id before anything is sealed with it.
create table vault_keys (
    key_id       text primary key,
    sealed_check bytea not null,
    created_at   timestamptz not null default now()
);
