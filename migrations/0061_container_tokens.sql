-- The secret that a project's own container wants, sealed: where there is none, the gateway's general one is sent.

alter table projects add column sealed_container_token bytea;
alter table projects add column container_token_key_id text;
alter table projects add constraint projects_container_token_check
    check ((sealed_container_token is null) = (container_token_key_id is null));
create index projects_by_container_token_key on projects (container_token_key_id)
    where container_token_key_id is not null;
