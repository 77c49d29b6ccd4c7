-- Commands that were run for agents are messages, too.

alter table agent_session_messages drop constraint agent_session_messages_role_check;
-- What is there has been checked before, and need not be read again.
alter table agent_session_messages add constraint agent_session_messages_role_check
    check (role in ('user', 'assistant', 'thought', 'tool', 'terminal', 'plan', 'event')) not valid;
