-- Passes open what a container streams, too: each is of one path below its project, and allows up to a role.

delete from stream_passes;
alter table stream_passes
    drop column session_id,
    add column path     text not null,  -- as it stands in the URL, percent-encoded
    add column max_role text not null check (max_role in ('viewer', 'operator'));
