-- Forgets the messages; they can be folded again from the log.

drop table agent_session_messages;
