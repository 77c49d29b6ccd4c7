-- Each of OpenCode's event streams that is recorded has a log, and what it lost is found by the number of its gap.

alter table log_heads
    drop constraint log_heads_log_check,
    add constraint log_heads_log_check check (log in ('acp', 'opencode', 'opencode_global', 'opencode_api'));

-- Whether each of these streams is being read.
create table opencode_streams (
    project_id text not null,
    log        text not null,
    read_under bigint,              -- the fence of the lease under which it is being read; null: it is not
    stored_at  timestamptz not null,  -- all that was said until then is stored
    primary key (project_id, log),
    foreign key (project_id, log) references log_heads (project_id, log) on delete cascade
);

-- The version before goes on using the columns.
insert into opencode_streams (project_id, log, read_under, stored_at)
select h.project_id, h.log, case when l.opencode_connected then l.fence end, l.opencode_stored_at
from log_heads h join follower_leases l on l.project_id = h.project_id
where h.log = 'opencode' and l.opencode_stored_at is not null;

-- What is filled in of a gap changes its message, which is found as that of a tool call is.
update agent_session_messages m set tool_call_id = 'gap ' || e.seq
from events e
where e.log = 'acp' and e.type = 'gap' and m.project_id = e.project_id and m.first_seq = e.seq and m.role = 'event';
