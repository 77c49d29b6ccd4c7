-- Takes back what credentials know of themselves; sealed tokens stay.

drop table vault_keys;
drop index agent_auth_tokens_by_end;
drop index agent_auth_tokens_by_key;
alter table agent_auth_tokens drop constraint agent_auth_tokens_token_type_check;
alter table agent_auth_tokens drop column fingerprint;
alter table agent_auth_tokens drop column version;
alter table agent_auth_tokens drop column state_reason;
alter table agent_auth_tokens drop column state;
alter table agent_auth_tokens drop column refresh_expires_at;
alter table agent_auth_tokens drop column subject;
alter table agent_auth_tokens drop column provider_id;
drop sequence agent_auth_token_versions;
