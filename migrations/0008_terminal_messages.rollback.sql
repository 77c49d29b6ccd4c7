-- The version before shows no commands among messages; the log keeps them.

delete from agent_session_messages where role = 'terminal';
alter table agent_session_messages drop constraint agent_session_messages_role_check;
alter table agent_session_messages add constraint agent_session_messages_role_check
    check (role in ('user', 'assistant', 'thought', 'tool', 'plan', 'event')) not valid;
