-- All functions, and the triggers that call them: run again whenever this file has changed.

-- A version that runs beside its successor calls what it knows: keep a function that it needs, give a new signature a
-- new name. Change this file together with a migration, as otherwise a start of the version before takes the change
-- back.

-- Failovers ----------------------------------------------------------------------------------------------------------

-- The timeline that is being written; null on a standby.
create or replace function wal_timeline() returns text language sql as
$$ select case when pg_is_in_recovery() then null else left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) end $$;

-- Looks whether this is the database that the gateways have worked with, before a connection is used for anything else.
-- On another timeline, or in another data directory, the last commits may be missing. Then each log begins a new epoch,
-- and it is noted where the former one ended: a cursor up to there stays valid, any other one is of events that are
-- lost. All gateways look, the first one does it.
-- The new epoch is one that no log ever had: by the clock (seconds since 2026), because the sequences may have lost what
-- they gave out. Returns it, also later; null on a standby.
-- As the owner, because a gateway's role need not have the right to set sequences.
create or replace function look_at_timeline() returns integer
language plpgsql security definer as $$
declare
    v_timeline text;
    v_system   bigint;
    known      deployment;
begin
    if pg_is_in_recovery() then
        return null;
    end if;
    begin
        v_timeline := wal_timeline();
        select c.system_identifier into v_system from pg_control_system() c;
    exception when insufficient_privilege or feature_not_supported then
        -- A service that keeps this for itself. Without the timeline there is nothing to compare.
        null;
    end;
    select * into known from deployment;
    if v_timeline is null or is_same_database(known, v_timeline, v_system) then
        return known.epoch;
    end if;

    select * into known from deployment for update;
    if is_same_database(known, v_timeline, v_system) then
        return known.epoch;
    end if;
    if known.timeline is not null then
        known.epoch := greatest(nextval('log_epochs'), (extract(epoch from clock_timestamp()) - 1767225600)::bigint);
        perform setval('log_epochs', known.epoch);
        perform setval('follower_fences', greatest(nextval('follower_fences'), known.epoch * 1000::bigint));
        insert into former_epochs (project_id, log, epoch, head)
            select h.project_id, h.log, h.epoch, h.head from log_heads h;
        update log_heads set epoch = known.epoch;
        -- No prompt is sent before what the container said last is being read again, where it can be.
        update follower_leases set connected = false where connected and source <> 'unnumbered';
        delete from former_epochs where ended_at < now() - interval '30 days';
    end if;
    update deployment set timeline = v_timeline, system_identifier = coalesce(v_system, known.system_identifier),
        epoch = known.epoch;
    return known.epoch;
end
$$;

-- Refuses a transaction on a database that was failed over since the epoch was found, and on a standby: for connections
-- through a pooler, which hands them on from the former primary to the new one while nobody connects anew.
create or replace function require_epoch(p_epoch integer) returns void language plpgsql as $$
begin
    if not exists (select from deployment d where d.epoch = p_epoch
            and case when d.timeline is null then true else d.timeline = wal_timeline() end) then
        raise exception 'the database was failed over' using errcode = '57P03';
    end if;
end
$$;

-- As look_at_timeline runs as its owner, nothing that its caller has made, such as a temporary table, may stand in for a
-- table of ours.
do $$
begin
    execute format('alter function look_at_timeline() set search_path = %I, pg_temp', current_schema());
end
$$;

create or replace function is_same_database(known deployment, p_timeline text, p_system bigint) returns boolean
language sql as $$
    select coalesce(known.timeline = p_timeline, false) and coalesce(known.system_identifier = p_system, true)
$$;

-- The log ------------------------------------------------------------------------------------------------------------

-- Appends a batch of one source to a log. The head's row lock is held until commit, so that the order of numbers is
-- the order of commits, and a repeated batch changes nothing.
--   p_fence    refuses the batch when a newer follower exists; null where no lease is needed
--   p_source   numbered source, or null; with it p_numbers holds the source's own number of each event: what the
--              mark says is stored is dropped, what the source skipped becomes an explicit gap; an event without a
--              number is not the source's own
--   p_keys     of these an event is stored once
--   p_types    one that is empty stores nothing: of such an event the source's number alone counts
-- An event of a session that names no turn belongs to the session's running one.
-- Returns the log's epoch, the head before, and for each stored row its place in the batch (from 1; negative: the gap
-- before that place) and its turn.
create or replace function append_events(
    p_project text, p_log text, p_fence bigint, p_source text, p_numbers bigint[], p_types text[], p_sessions text[],
    p_turns text[], p_agents text[], p_ats timestamptz[], p_keys text[], p_payloads bytea[],
    out epoch integer, out base bigint, out places integer[], out turns text[], out gaps bytea[]
) language plpgsql as $$
declare
    v_fence    bigint;
    v_mark     bigint := 0;
    v_count    bigint;
    v_sessions text[];
    v_types    text[];
begin
    select h.epoch, h.head, h.fence into epoch, base, v_fence
        from log_heads h where h.project_id = p_project and h.log = p_log for update;
    if not found then
        raise exception 'project % is gone', p_project using errcode = 'AG404';
    end if;
    if p_fence is not null and p_fence <> v_fence then
        raise exception 'fence % is stale, % is in force', p_fence, v_fence using errcode = 'AG409';
    end if;
    if p_source is not null then
        select s.mark into v_mark
            from log_sources s where s.project_id = p_project and s.log = p_log and s.source = p_source;
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
        where c.type <> '' and (p_source is null or c.n is null or c.n > c.before)
            and (c.event_key is null or (c.mention = 1 and not exists (
                select from events e
                where e.project_id = p_project and e.log = p_log and e.event_key = c.event_key)))
        union all
        select c.place, 0, 'gap', null, null, null, c.at, null,
            convert_to(json_build_object('reason', 'skipped', 'source', p_source, 'from', c.before + 1,
                'to', c.n - 1, 'count', c.n - 1 - c.before)::text, 'UTF8')
        from counted c
        where p_source is not null and c.n > c.before + 1
    ), numbered as (
        select r.*, row_number() over (order by r.place, r.part) as step from wanted r
    ), stored as (
        insert into events (project_id, log, seq, type, session_id, turn_id, agent_id, at, event_key, payload)
        select p_project, p_log, base + n.step, n.type, n.session_id, n.turn_id, n.agent_id, n.at, n.event_key,
            n.payload
        from numbered n
    )
    select count(*), coalesce(array_agg(case n.part when 0 then -n.place else n.place end order by n.step), '{}'),
        coalesce(array_agg(n.turn_id order by n.step), '{}'),
        coalesce(array_agg(n.payload order by n.step) filter (where n.part = 0), '{}'),
        array_agg(n.session_id order by n.step), array_agg(n.type order by n.step)
        into v_count, places, turns, gaps, v_sessions, v_types
        from numbered n;

    update log_heads h set head = base + v_count where h.project_id = p_project and h.log = p_log and v_count > 0;
    if v_count > 0 then
        perform note_activity(p_project, base, v_sessions, v_types);
    end if;
    if p_source is not null then
        insert into log_sources as s (project_id, log, source, mark)
            select p_project, p_log, p_source, max(n) from unnest(p_numbers) n having max(n) is not null
            on conflict (project_id, log, source) do update
            set mark = greatest(s.mark, excluded.mark), updated_at = now();
    end if;
end
$$;

-- As append_events does for a source's events that follow one another from p_first on and that nothing else comes true
-- with, at half the cost. Members that many events share are given once for each kind of event:
--   p_types, p_sessions, p_turns, p_agents   of each kind
--   p_kinds                                  of each event, its kind (from 1)
--   p_ats                                    of each event, microseconds since 1970
--   p_begins, p_lengths                      of each event, where in p_payloads its payload is (bytes, from 1)
-- Returns the log's epoch, the head before, and the turn of each kind. All of them are stored, or none: where p_first
-- is not the number after the source's mark, base is null, and append_events has to look at each.
create or replace function append_series(
    p_project text, p_log text, p_fence bigint, p_source text, p_first bigint, p_types text[], p_sessions text[],
    p_turns text[], p_agents text[], p_kinds integer[], p_ats bigint[], p_begins integer[], p_lengths integer[],
    p_payloads bytea,
    out epoch integer, out base bigint, out turns text[]
) language plpgsql as $$
declare
    v_fence bigint;
    v_mark  bigint;
    v_last  bigint := p_first + cardinality(p_kinds) - 1;
begin
    select h.epoch, h.head, h.fence into epoch, base, v_fence
        from log_heads h where h.project_id = p_project and h.log = p_log for update;
    if not found then
        raise exception 'project % is gone', p_project using errcode = 'AG404';
    end if;
    if p_fence is not null and p_fence <> v_fence then
        raise exception 'fence % is stale, % is in force', p_fence, v_fence using errcode = 'AG409';
    end if;
    select s.mark into v_mark
        from log_sources s where s.project_id = p_project and s.log = p_log and s.source = p_source;
    if coalesce(v_mark, 0) <> p_first - 1 then
        base := null;
        return;
    end if;

    select array_agg(coalesce(k.turn_id, t.id) order by k.kind) into turns
        from unnest(p_sessions, p_turns) with ordinality as k (session_id, turn_id, kind)
        left join turns t on k.turn_id is null and t.project_id = p_project and t.session_id = k.session_id
            and t.state = 'running';

    insert into events (project_id, log, seq, type, session_id, turn_id, agent_id, at, payload)
        select p_project, p_log, base + i.place, p_types[i.kind], p_sessions[i.kind], turns[i.kind], p_agents[i.kind],
            to_timestamp(i.at / 1000000) + (i.at % 1000000) * interval '1 microsecond',
            substring(p_payloads from i.first for i.length)
        from unnest(p_kinds, p_ats, p_begins, p_lengths) with ordinality as i (kind, at, first, length, place);

    update log_heads h set head = base + cardinality(p_kinds) where h.project_id = p_project and h.log = p_log;
    perform note_activity(p_project, base + cardinality(p_kinds) - cardinality(p_types), p_sessions, p_types);
    insert into log_sources as s (project_id, log, source, mark) values (p_project, p_log, p_source, v_last)
        on conflict (project_id, log, source) do update set mark = excluded.mark, updated_at = now();
end
$$;

-- Sessions were active, in this order: at p_base + 1 and so on. While an agent speaks that is noted once a second, and
-- not with each batch. What a session is told by others, or what changes it, is noted each time.
create or replace function note_activity(p_project text, p_base bigint, p_sessions text[], p_types text[])
returns void language plpgsql as $$
begin
    insert into session_activity (project_id, session_id, place, at)
        select p_project, n.session_id, max(p_base + n.step), clock_timestamp()
        from unnest(p_sessions, p_types) with ordinality as n (session_id, type, step)
        where n.session_id is not null
        group by n.session_id
        having bool_or(n.type not in ('session_update', 'terminal_output')) or not exists (
            select from session_activity a
            where a.project_id = p_project and a.session_id = n.session_id
                and a.at > clock_timestamp() - interval '1 second')
        on conflict (project_id, session_id) do update set place = excluded.place, at = excluded.at;
end
$$;

-- A version that ran beside the migrations has noted no activity of the sessions that it created between two of them.
insert into session_activity (project_id, session_id, place, at)
select s.project_id, s.id, max(e.seq), max(e.at)
from agent_sessions s
join events e on e.project_id = s.project_id and e.log = 'acp' and e.session_id = s.id
where s.status <> 'creating' and not exists (
    select from session_activity a where a.project_id = s.project_id and a.session_id = s.id)
group by s.project_id, s.id
on conflict do nothing;

-- Events have come: they may be enough to be packed.
create or replace function note_growth() returns trigger language plpgsql as $$
begin
    new.growing := true;
    return new;
end
$$;

create or replace trigger log_heads_grow before update of head on log_heads
    for each row when (new.head > old.head and not old.growing) execute function note_growth();

-- Takes every lease that is free and has a reason to be held: a session that lives, OpenCode's events that are to be
-- recorded, or somebody who asked for it (p_asked). p_everything: look for projects, too, that nobody ever followed or
-- wanted, which reads all living sessions.
-- Returns the new fences. A fence is raised in the heads of the project's logs too, so that an append of the former
-- holder is refused from here on. A head that is locked just now is left for the next time: nobody waits here.
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
        where h.log = 'acp' and h.project_id in (select w.project_id from wanted w)
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

-- Access -------------------------------------------------------------------------------------------------------------

-- What somebody may do in a project, its owner everything; null: it is not theirs.
create or replace function project_role(which text, who text) returns text language sql stable as $$
    select 'admin' from projects where id = which and owner_id = who
    union all
    select role from project_members where project_id = which and user_id = who
    limit 1
$$;

-- The most that an API token allows in a project; null: nothing, as it was revoked, has expired, or never did.
create or replace function token_role(which text, project text) returns text language sql stable as $$
    select max_role from api_tokens
    where id = which and revoked_at is null and (expires_at is null or expires_at > now())
        and (projects is null or project = any (projects))
$$;

-- Whoever has got into the gateway shall not cover their tracks: what is younger than a week cannot be deleted, and
-- nothing can be changed, as long as nobody with the right to it drops this trigger.
create or replace function keep_audit_entries() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.at < now() - interval '7 days' then
            return old;
        end if;
    end if;
    raise exception 'audit entries are not changed' using errcode = 'AG010';
end
$$;

create or replace trigger keep_audit_entries before update or delete on audit_entries
    for each row execute function keep_audit_entries();
create or replace trigger keep_all_audit_entries before truncate on audit_entries
    for each statement execute function keep_audit_entries();

-- Credentials --------------------------------------------------------------------------------------------------------

-- Which key has sealed a secret, read from its own header: a login's secrets may be sealed with several.
create or replace function sealed_with(sealed bytea) returns text
language sql immutable strict parallel safe as
$$ select case when length(sealed) > 1 then encode(substring(sealed from 3 for get_byte(sealed, 1)), 'escape') end $$;

-- Whatever a container is given is kept, whoever gives it.
create or replace function keep_given_secret() returns trigger language plpgsql as $$
begin
    insert into given_secrets (project_id, agent_id, user_id, version, sealed_access_token, key_id)
    select new.project_id, t.agent_id, t.user_id, t.version, t.sealed_access_token, t.key_id
    from agent_auth_tokens t
    where t.user_id = new.user_id and t.agent_id = new.agent_id and t.version = new.version
    on conflict do nothing;
    return null;
end
$$;

create or replace trigger keep_given_secret after insert or update of version on given_credentials
    for each row execute function keep_given_secret();

create or replace function note_replaced_secret() returns trigger language plpgsql as $$
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

create or replace trigger note_replaced_secret after delete or update of version on agent_auth_tokens
    for each row execute function note_replaced_secret();

-- Has containers give back credentials: of a project, a user, an agent, each where it is named. Called in the
-- transaction that takes them away, so that neither happens without the other. How many containers that is.
create or replace function withdraw_credentials(p_project text, p_user text, p_agent text, p_moved boolean)
returns bigint language sql as $$
    with given as (
        select project_id, agent_id, owner from given_credentials
        where (p_project is null or project_id = p_project) and (p_user is null or user_id = p_user)
            and (p_agent is null or agent_id = p_agent)
    ), processes as (
        select project_id, agent_id, claim from agent_processes
        where (p_project is null or project_id = p_project) and user_id = coalesce(p_user, user_id)
            and (p_agent is null or agent_id = p_agent)
    ), noted as (
        insert into withdrawals (project_id, container_url, acp_url, sealed_container_token, has_moved, agent_ids,
            owners, process_agent_ids, process_claims)
        select p.id, p.container_url, p.acp_url, p.sealed_container_token, p_moved,
            array(select g.agent_id from given g where g.project_id = p.id order by g.owner),
            array(select g.owner from given g where g.project_id = p.id order by g.owner),
            array(select r.agent_id from processes r where r.project_id = p.id order by r.claim),
            array(select r.claim from processes r where r.project_id = p.id order by r.claim)
        from projects p
        where p.id in (select project_id from given union select project_id from processes)
        returning id
    )
    select count(*) from noted
$$;

-- Presence -----------------------------------------------------------------------------------------------------------

-- Whether a gateway renews its row. What a dead one holds is anybody's.
create or replace function gateway_lives(p_id text) returns boolean language sql as
$$ select exists (select from gateways where id = p_id and expires_at > clock_timestamp()) $$;
