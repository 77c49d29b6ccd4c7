-- Members: who besides its owner may use a project, and as what.

create table project_members (
    project_id text not null references projects (id) on delete cascade,
    user_id    text not null check (length(user_id) between 1 and 200),
    role       text not null check (role in ('viewer', 'operator', 'admin')),
    added_by   text not null,
    added_at   timestamptz not null default now(),
    primary key (project_id, user_id)
);

create index project_members_by_user on project_members (user_id, project_id);

-- What somebody may do in a project, its owner everything; null: it is not theirs.
create function project_role(which text, who text) returns text language sql stable as $$
    select 'admin' from projects where id = which and owner_id = who
    union all
    select role from project_members where project_id = which and user_id = who
    limit 1
$$;
