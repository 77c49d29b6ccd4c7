-- The audit: who did what to which project, from where, with what outcome. Rows are added and never changed.

create table audit_entries (
    project_id text,                 -- null: of no project, as where somebody could not be identified
    id         bigint generated always as identity,
    at         timestamptz not null default now(),
    user_id    text,                 -- null: nobody knows
    mode       text,
    token_id   text,
    method     text not null,
    path       text not null,        -- without its query
    outcome    text not null check (outcome in ('done', 'refused', 'failed', 'left')),
    status     integer,
    code       text,
    address    text,
    request_id text not null,
    repeats    integer not null default 0  -- how many like it have been left out before it
);

create index audit_entries_by_project on audit_entries (project_id, id);
create index audit_entries_by_age on audit_entries (at);

-- Whoever has got into the gateway shall not cover their tracks: what is younger than a week cannot be taken away, and
-- nothing can be changed, as long as nobody with the right to it takes this trigger away.
create function keep_audit_entries() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.at < now() - interval '7 days' then
            return old;
        end if;
    end if;
    raise exception 'audit entries are not changed' using errcode = 'AG010';
end
$$;

create trigger keep_audit_entries before update or delete on audit_entries
    for each row execute function keep_audit_entries();
create trigger keep_all_audit_entries before truncate on audit_entries
    for each statement execute function keep_audit_entries();
