-- A session knows the title that its agent gave it.

alter table agent_sessions add column agent_title text;
