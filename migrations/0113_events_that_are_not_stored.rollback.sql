-- Each event of a source is stored.

-- Appends a batch of one source to a project's log. The head's row lock is held until commit, so that the order of
-- numbers is the order of commits, and a repeated batch changes nothing.
--   p_fence    refuses the batch when a newer follower exists; null where no lease is needed
--   p_source   numbered source, or null; with it p_numbers holds the source's own number of each event: what the
--              mark says is stored is dropped, what the source skipped becomes an explicit gap; an event without a
--              number is not the source's own
--   p_keys     of these an event is stored once
-- An event of a session that names no turn belongs to the session's running one.
-- Gives the log's epoch, the head before, and for each stored row its place in the batch (from 1; negative: the gap
-- before that place) and its turn.
create or replace function append_events(
    p_project text, p_fence bigint, p_source text, p_numbers bigint[], p_types text[], p_sessions text[],
    p_turns text[], p_agents text[], p_ats timestamptz[], p_keys text[], p_payloads bytea[],
    out epoch integer, out base bigint, out places integer[], out turns text[], out gaps bytea[]
) language plpgsql as $$
declare
    v_fence bigint;
    v_mark  bigint := 0;
    v_count bigint;
begin
    select h.epoch, h.head, h.fence into epoch, base, v_fence
        from log_heads h where h.project_id = p_project for update;
    if not found then
        raise exception 'project % is gone', p_project using errcode = 'AG404';
    end if;
    if p_fence is not null and p_fence <> v_fence then
        raise exception 'fence % is stale, % is in force', p_fence, v_fence using errcode = 'AG409';
    end if;
    if p_source is not null then
        select s.mark into v_mark from log_sources s where s.project_id = p_project and s.source = p_source;
        v_mark := coalesce(v_mark, 0);
    end if;

    with input as (
        select i.*, max(i.n) over (order by i.place rows between unbounded preceding and 1 preceding) as highest
        from unnest(p_numbers, p_types, p_sessions, p_turns, p_agents, p_ats, p_keys, p_payloads) with ordinality
            as i (n, type, session_id, turn_id, agent_id, at, event_key, payload, place)
    ), counted as (
        select i.*, greatest(coalesce(i.highest, 0), v_mark) as before,
            row_number() over (partition by i.event_key order by i.place) as mention
        from input i
    ), wanted as (
        select c.place, 1 as part, c.type, c.session_id, coalesce(c.turn_id, t.id) as turn_id, c.agent_id, c.at,
            c.event_key, c.payload
        from counted c
        left join turns t on c.turn_id is null and t.project_id = p_project and t.session_id = c.session_id
            and t.state = 'running'
        where (p_source is null or c.n is null or c.n > c.before)
            and (c.event_key is null or (c.mention = 1 and not exists (
                select from events e where e.project_id = p_project and e.event_key = c.event_key)))
        union all
        select c.place, 0, 'gap', null, null, null, c.at, null,
            convert_to(json_build_object('reason', 'skipped', 'source', p_source, 'from', c.before + 1,
                'to', c.n - 1, 'count', c.n - 1 - c.before)::text, 'UTF8')
        from counted c
        where p_source is not null and c.n > c.before + 1
    ), numbered as (
        select r.*, row_number() over (order by r.place, r.part) as step from wanted r
    ), stored as (
        insert into events (project_id, seq, type, session_id, turn_id, agent_id, at, event_key, payload)
        select p_project, base + n.step, n.type, n.session_id, n.turn_id, n.agent_id, n.at, n.event_key, n.payload
        from numbered n
    )
    select count(*), coalesce(array_agg(case n.part when 0 then -n.place else n.place end order by n.step), '{}'),
        coalesce(array_agg(n.turn_id order by n.step), '{}'),
        coalesce(array_agg(n.payload order by n.step) filter (where n.part = 0), '{}')
        into v_count, places, turns, gaps
        from numbered n;

    update log_heads h set head = base + v_count where h.project_id = p_project and v_count > 0;
    if p_source is not null then
        insert into log_sources as s (project_id, source, mark)
            select p_project, p_source, max(n) from unnest(p_numbers) n having max(n) is not null
            on conflict (project_id, source) do update
            set mark = greatest(s.mark, excluded.mark), updated_at = now();
    end if;
end
$$;
