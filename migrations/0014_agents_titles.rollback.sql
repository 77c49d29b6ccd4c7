-- Titles stay, whoever gave them.

alter table agent_sessions drop column agent_title;
