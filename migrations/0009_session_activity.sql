-- Keeps which sessions were active last, and the passwords of projects' OpenCode.

create table session_activity (
    project_id text not null references projects (id) on delete cascade,
    session_id text not null,
    place      bigint not null,             -- in the log, of its last event
    at         timestamptz not null,        -- when that was stored
    primary key (project_id, session_id)
);

create index session_activity_by_place on session_activity (project_id, place);
drop index agent_sessions_by_age;           -- lists are by activity

alter table projects
    add column opencode_username text,              -- null: the one that OpenCode has by default
    add column sealed_opencode_password bytea;      -- null: its OpenCode wants none

-- Of what was before only the times are known. Each session has had an event, so that these places come before all new ones.
insert into session_activity (project_id, session_id, place, at)
select project_id, id, row_number() over (partition by project_id order by at, id), at
from (
    select s.project_id, s.id, greatest(s.updated_at, max(t.queued_at), max(t.started_at), max(t.ended_at)) as at
    from agent_sessions s left join turns t on t.project_id = s.project_id and t.session_id = s.id
    where s.status <> 'creating'
    group by s.project_id, s.id, s.updated_at
) known;

-- What concerns every session. Last, since nothing can be appended while it is made.
create index events_for_sessions on events (project_id, log, seq)
    where session_id is null and type in ('gap', 'project_changed');
