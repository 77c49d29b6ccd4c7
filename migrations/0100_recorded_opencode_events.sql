-- OpenCode's own events recorded, where a project asks for it: a second log of the project, named <project>/opencode.

-- In the order in which whoever appends takes them, so that neither waits for the other half done.
lock table log_storage, log_heads, log_sources, follower_leases, projects in access exclusive mode;

alter table projects add column record_opencode_events boolean not null default false;
-- Where the project's OpenCode was started, as it last told: whose events those are that are recorded.
alter table projects add column opencode_directory text;
create index projects_recording on projects (id) where record_opencode_events;

-- A log goes with its project, and what hangs on a log with that. No project's id has a slash.
alter table log_heads drop constraint log_heads_project_id_fkey;
alter table log_heads add column of_project text generated always as (split_part(project_id, '/', 1)) stored
    references projects (id) on delete cascade;
create index log_heads_by_project on log_heads (of_project);
alter table log_sources drop constraint log_sources_project_id_fkey;
alter table log_sources add foreign key (project_id) references log_heads (project_id) on delete cascade;
alter table log_storage drop constraint log_storage_project_id_fkey;
alter table log_storage add foreign key (project_id) references log_heads (project_id) on delete cascade;

-- Its events go like those of a deleted project, whoever deletes that: a gateway of the version before knows one log.
create function remove_opencode_events() returns trigger language plpgsql as $$
begin
    insert into deleted_projects (project_id) values (old.project_id) on conflict do nothing;
    return null;
end
$$;

create trigger remove_opencode_events after delete on log_heads
    for each row when (old.project_id like '%/opencode') execute function remove_opencode_events();

-- Whoever holds a project's lease reads both of its container's streams.
alter table follower_leases add column opencode_connected boolean not null default false;
-- Until when all that OpenCode said is stored; null: it was never recorded.
alter table follower_leases add column opencode_stored_at timestamptz;

-- As before, and projects whose OpenCode is recorded want a follower, too.
create or replace function acquire_leases(
    p_holder text, p_seconds double precision, p_asked text[], p_everything boolean, p_limit integer
) returns table (project_id text, fence bigint) language sql as $$
    with wanted as (
        select l.project_id from follower_leases l
        where l.wanted and l.expires_at <= clock_timestamp() and (exists (
            select from agent_sessions s where s.project_id = l.project_id
                and (s.status = 'active' or (s.status = 'creating' and s.created_at > now() - interval '5 minutes')))
            or exists (select from projects p where p.id = l.project_id and p.record_opencode_events))
        union
        select a.id from unnest(p_asked) as a (id)
        where not exists (
            select from follower_leases l where l.project_id = a.id and l.expires_at > clock_timestamp())
        union
        select s.project_id from agent_sessions s
        where p_everything
            and (s.status = 'active' or (s.status = 'creating' and s.created_at > now() - interval '5 minutes'))
            and not exists (
                select from follower_leases l where l.project_id = s.project_id
                    and (l.wanted or l.expires_at > clock_timestamp()))
        union
        select p.id from projects p
        where p_everything and p.record_opencode_events
            and not exists (
                select from follower_leases l where l.project_id = p.id
                    and (l.wanted or l.expires_at > clock_timestamp()))
    ), free as (
        select h.project_id from log_heads h
        where h.project_id in (select w.project_id from wanted w)
        order by h.project_id limit p_limit
        for update skip locked
    ), taken as (
        insert into follower_leases as l (project_id, holder, fence, expires_at)
        select f.project_id, p_holder, nextval('follower_fences'), clock_timestamp() + make_interval(secs => p_seconds)
        from free f
        on conflict (project_id) do update
        set holder = excluded.holder, fence = excluded.fence, expires_at = excluded.expires_at, connected = false,
            opencode_connected = false, wanted = true
        where l.expires_at <= clock_timestamp()
        returning l.project_id, l.fence, l.source
    ), raised as (
        update log_heads h set fence = t.fence from taken t
        where h.project_id in (t.project_id, t.project_id || '/opencode')
    ), pruned as (
        -- Under the new fence nobody appends any more what a former holder has numbered itself; and a boot that is
        -- silent for a month is over.
        delete from log_sources s using taken t
        where s.project_id = t.project_id
            and (s.source like 'unnumbered-%'
                or (s.updated_at < now() - interval '30 days' and s.source is distinct from t.source))
    )
    select t.project_id, t.fence from taken t
$$;
