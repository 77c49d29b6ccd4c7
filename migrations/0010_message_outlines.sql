-- Messages with large contents have an outline, and a running turn's messages are written while they still grow.

alter table agent_session_messages
    add column outline      bytea,    -- the body with references in place of large contents; null: nothing is large
    add column outlined_to  bigint;   -- the last_seq that the outline is of: a former version writes only the body
alter table agent_sessions
    add column open_messages     bigint[] not null default '{}',  -- first_seq of a text and plans that later events go on with
    add column open_messages_at  bigint;                          -- the folded_to that this is true of, likewise
