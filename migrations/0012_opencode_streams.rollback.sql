-- OpenCode has one event stream that is recorded.

update agent_session_messages set tool_call_id = null where role = 'event' and tool_call_id is not null;

update follower_leases l set opencode_stored_at = s.stored_at
from opencode_streams s where s.project_id = l.project_id and s.log = 'opencode';

drop table opencode_streams;
delete from events where log in ('opencode_global', 'opencode_api');
delete from event_packs where log in ('opencode_global', 'opencode_api');
delete from log_heads where log in ('opencode_global', 'opencode_api');
alter table log_heads
    drop constraint log_heads_log_check,
    add constraint log_heads_log_check check (log in ('acp', 'opencode'));
