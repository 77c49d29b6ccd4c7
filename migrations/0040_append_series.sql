-- Appends what containers say most of the time, events with consecutive numbers and no key, at half the cost.

-- As append_events does for a source's events that follow one another from p_first on and that nothing else comes true
-- with. Members that many events share are given once for each kind of event:
--   p_types, p_sessions, p_turns, p_agents   of each kind
--   p_kinds                                  of each event, its kind (from 1)
--   p_ats                                    of each event, microseconds since 1970
--   p_begins, p_lengths                      of each event, where in p_payloads its payload is (bytes, from 1)
-- Gives the log's epoch, the head before, and the turn of each kind. All of them are stored, or none: where p_first is
-- not the number after the source's mark, base is null, and append_events has to look at each.
create function append_series(
    p_project text, p_fence bigint, p_source text, p_first bigint, p_types text[], p_sessions text[], p_turns text[],
    p_agents text[], p_kinds integer[], p_ats bigint[], p_begins integer[], p_lengths integer[], p_payloads bytea,
    out epoch integer, out base bigint, out turns text[]
) language plpgsql as $$
declare
    v_fence bigint;
    v_mark  bigint;
    v_last  bigint := p_first + cardinality(p_kinds) - 1;
begin
    select h.epoch, h.head, h.fence into epoch, base, v_fence
        from log_heads h where h.project_id = p_project for update;
    if not found then
        raise exception 'project % is gone', p_project using errcode = 'AG404';
    end if;
    if p_fence is not null and p_fence <> v_fence then
        raise exception 'fence % is stale, % is in force', p_fence, v_fence using errcode = 'AG409';
    end if;
    select s.mark into v_mark from log_sources s where s.project_id = p_project and s.source = p_source;
    if coalesce(v_mark, 0) <> p_first - 1 then
        base := null;
        return;
    end if;

    select array_agg(coalesce(k.turn_id, t.id) order by k.kind) into turns
        from unnest(p_sessions, p_turns) with ordinality as k (session_id, turn_id, kind)
        left join turns t on k.turn_id is null and t.project_id = p_project and t.session_id = k.session_id
            and t.state = 'running';

    insert into events (project_id, seq, type, session_id, turn_id, agent_id, at, payload)
        select p_project, base + i.place, p_types[i.kind], p_sessions[i.kind], turns[i.kind], p_agents[i.kind],
            to_timestamp(i.at / 1000000) + (i.at % 1000000) * interval '1 microsecond',
            substring(p_payloads from i.first for i.length)
        from unnest(p_kinds, p_ats, p_begins, p_lengths) with ordinality as i (kind, at, first, length, place);

    update log_heads h set head = base + cardinality(p_kinds) where h.project_id = p_project;
    insert into log_sources as s (project_id, source, mark) values (p_project, p_source, v_last)
        on conflict (project_id, source) do update set mark = excluded.mark, updated_at = now();
end
$$;
