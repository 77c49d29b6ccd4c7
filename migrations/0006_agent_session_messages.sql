-- What people read: messages folded from the log, each with the range of events that it covers.

create table agent_session_messages (
    project_id   text not null references projects (id) on delete cascade,
    session_id   text not null,
    first_seq    bigint not null,
    last_seq     bigint not null,
    role         text not null check (role in ('user', 'assistant', 'thought', 'tool', 'plan')),
    turn_id      text,
    tool_call_id text,
    at           timestamptz not null,
    updated_at   timestamptz not null,
    body         bytea not null,              -- JSON of what the role has: content, toolCall or entries
    primary key (project_id, session_id, first_seq)
);

create index agent_session_messages_by_tool_call on agent_session_messages (project_id, session_id, tool_call_id)
    where tool_call_id is not null;
