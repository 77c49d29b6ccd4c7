-- Records nothing of OpenCode's any more, and forgets what was recorded.

create or replace function acquire_leases(
    p_holder text, p_seconds double precision, p_asked text[], p_everything boolean, p_limit integer
) returns table (project_id text, fence bigint) language sql as $$
    with wanted as (
        select l.project_id from follower_leases l
        where l.wanted and l.expires_at <= clock_timestamp() and exists (
            select from agent_sessions s where s.project_id = l.project_id
                and (s.status = 'active' or (s.status = 'creating' and s.created_at > now() - interval '5 minutes')))
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
            wanted = true
        where l.expires_at <= clock_timestamp()
        returning l.project_id, l.fence, l.source
    ), raised as (
        update log_heads h set fence = t.fence from taken t where h.project_id = t.project_id
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

drop trigger remove_opencode_events on log_heads;
drop function remove_opencode_events();
delete from events where project_id like '%/opencode';
delete from event_packs where project_id like '%/opencode';
delete from deleted_projects where project_id like '%/opencode';
delete from log_heads where project_id like '%/opencode';

alter table follower_leases drop column opencode_stored_at;
alter table follower_leases drop column opencode_connected;
alter table log_storage drop constraint log_storage_project_id_fkey;
alter table log_storage add foreign key (project_id) references projects (id) on delete cascade;
alter table log_sources drop constraint log_sources_project_id_fkey;
alter table log_sources add foreign key (project_id) references projects (id) on delete cascade;
alter table log_heads drop column of_project;
alter table log_heads add foreign key (project_id) references projects (id) on delete cascade;
alter table projects drop column opencode_directory;
alter table projects drop column record_opencode_events;
