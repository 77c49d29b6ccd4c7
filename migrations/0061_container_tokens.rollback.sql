-- Forgets the secrets of projects' own containers.

drop index projects_by_container_token_key;
alter table projects drop constraint projects_container_token_check;
alter table projects drop column container_token_key_id;
alter table projects drop column sealed_container_token;
