-- Projects with nothing to do cost the looks nothing that are taken at all of them, again and again.

-- wanted: whether somebody had a reason to follow when the lease was last given up; what is wanted and free is looked
-- for twice a second, all else by those who ask for it, and every ten seconds.
alter table follower_leases add column wanted boolean not null default true;
create index follower_leases_wanted on follower_leases (project_id) where wanted;

-- growing: whether events came since it was last found that there are too few to be packed.
alter table log_heads add column growing boolean not null default true;
create index log_heads_growing on log_heads (project_id) where growing;

create function note_growth() returns trigger language plpgsql as $$
begin
    new.growing := true;
    return new;
end
$$;
create trigger log_heads_grow before update of head on log_heads
    for each row when (new.head > old.head and not old.growing) execute function note_growth();

create index log_storage_by_look on log_storage (looked_at);
create index projects_with_retention on projects (id) where retention is not null;
create index agent_sessions_in_creation on agent_sessions (created_at) where status = 'creating';
create index turns_open on turns (project_id, session_id) where state in ('queued', 'running');
create index turns_by_container_turn on turns (project_id, session_id, container_turn_id)
    where container_turn_id is not null;
create index turns_by_end on turns (project_id, ended_at) where ended_at is not null;
create index turns_of_session_unfolded on turns (project_id, session_id) where not folded and ended_at is not null;

drop function acquire_leases(text, double precision, text[], boolean, integer);

-- Takes every lease that is free and has a reason to be held: a session that lives, or somebody who asked for it
-- (p_asked). p_everything: look for projects, too, that nobody ever followed or wanted, which reads all living sessions.
-- Gives the new fences. A fence is raised in the log's head too, so that an append of the former holder is refused
-- from here on. A head that is locked just now is left for the next time: nobody waits for anybody here.
create function acquire_leases(
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
