-- Passes are of the gateway's own streams again: browsers that are connected by one must get a new ticket.

delete from stream_passes;
alter table stream_passes
    drop column max_role,
    drop column path,
    add column session_id text;
