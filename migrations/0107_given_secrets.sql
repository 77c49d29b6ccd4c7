-- Keeps each secret that a container was given, sealed, for as long as something there may run with it.

create table given_secrets (
    project_id          text not null references projects (id) on delete cascade,
    agent_id            text not null,
    user_id             text not null,
    version             bigint not null,
    sealed_access_token bytea not null,  -- as in agent_auth_tokens, and sealed to its place there
    key_id              text not null,
    replaced_at         timestamptz,     -- since when it is no user's credential any more
    primary key (project_id, agent_id, user_id, version)
);

create index given_secrets_by_key on given_secrets (key_id);
create index given_secrets_by_user on given_secrets (user_id, agent_id, version) where replaced_at is null;
create index given_secrets_by_end on given_secrets (replaced_at) where replaced_at is not null;

-- Whoever gives a credential, a gateway of an older version too.
create function keep_given_secret() returns trigger language plpgsql as $$
begin
    insert into given_secrets (project_id, agent_id, user_id, version, sealed_access_token, key_id)
    select new.project_id, t.agent_id, t.user_id, t.version, t.sealed_access_token, t.key_id
    from agent_auth_tokens t
    where t.user_id = new.user_id and t.agent_id = new.agent_id and t.version = new.version
    on conflict do nothing;
    return null;
end
$$;

create trigger keep_given_secret after insert or update of version on given_credentials
    for each row execute function keep_given_secret();

create function note_replaced_secret() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        if new.version = old.version then
            return null;
        end if;
    end if;
    update given_secrets set replaced_at = clock_timestamp()
    where user_id = old.user_id and agent_id = old.agent_id and version = old.version and replaced_at is null;
    return null;
end
$$;

create trigger note_replaced_secret after delete or update of version on agent_auth_tokens
    for each row execute function note_replaced_secret();

-- Last: what is given while this runs is seen by the triggers or by this.
insert into given_secrets (project_id, agent_id, user_id, version, sealed_access_token, key_id)
select g.project_id, g.agent_id, g.user_id, g.version, t.sealed_access_token, t.key_id
from given_credentials g
join agent_auth_tokens t on t.user_id = g.user_id and t.agent_id = g.agent_id and t.version = g.version
on conflict do nothing;
