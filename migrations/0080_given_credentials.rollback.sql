-- Forgets whose credential runs where.

drop table agent_processes;
drop sequence agent_process_claims;
drop table given_credentials;
alter table agent_sessions drop column credential_user_id;
