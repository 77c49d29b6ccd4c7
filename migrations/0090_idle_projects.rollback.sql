-- Looks at all projects again.

drop function acquire_leases(text, double precision, text[], boolean, integer);

-- Takes every lease that is free and has a reason to be held: a session that lives, or somebody who asked for it
-- (p_asked). p_everything: look for projects that nobody ever followed, too, which reads all living sessions.
-- Gives the new fences. A fence is raised in the log's head too, so that an append of the former holder is refused
-- from here on. A head that is locked just now is left for the next time: nobody waits for anybody here.
create function acquire_leases(
    p_holder text, p_seconds double precision, p_asked text[], p_everything boolean, p_limit integer
) returns table (project_id text, fence bigint) language sql as $$
    with wanted as (
        select l.project_id from follower_leases l
        where l.expires_at <= clock_timestamp() and exists (
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
            and not exists (select from follower_leases l where l.project_id = s.project_id)
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
        set holder = excluded.holder, fence = excluded.fence, expires_at = excluded.expires_at, connected = false
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

drop index turns_of_session_unfolded;
drop index turns_by_end;
drop index turns_by_container_turn;
drop index turns_open;
drop index agent_sessions_in_creation;
drop index projects_with_retention;
drop index log_storage_by_look;
drop trigger log_heads_grow on log_heads;
drop function note_growth();
alter table log_heads drop column growing;
alter table follower_leases drop column wanted;
