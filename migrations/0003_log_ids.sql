-- Has the keys of the log's tables say a project and which of its logs, where one text stood for both.

-- No gateway of a former version may run beside this.
drop trigger if exists remove_opencode_events on log_heads;
drop function if exists remove_opencode_events, append_events, append_series;

alter table log_sources drop constraint log_sources_project_id_fkey, drop constraint log_sources_pkey;
alter table log_storage drop constraint log_storage_project_id_fkey, drop constraint log_storage_pkey;
alter table log_heads drop column of_project, drop constraint log_heads_pkey;
alter table events drop constraint events_pkey;
alter table event_packs drop constraint event_packs_pkey;
drop index log_heads_growing, events_by_key;

-- 'acp': the project's own log. 'opencode': what its OpenCode says, where that is recorded.
alter table log_heads add column log text not null default 'acp' check (log in ('acp', 'opencode'));
alter table log_sources add column log text not null default 'acp';
alter table log_storage add column log text not null default 'acp';
alter table events add column log text not null default 'acp';
alter table event_packs add column log text not null default 'acp';

update log_heads set project_id = split_part(project_id, '/', 1), log = 'opencode' where project_id like '%/opencode';
update log_sources set project_id = split_part(project_id, '/', 1), log = 'opencode' where project_id like '%/opencode';
update log_storage set project_id = split_part(project_id, '/', 1), log = 'opencode' where project_id like '%/opencode';
update events set project_id = split_part(project_id, '/', 1), log = 'opencode' where project_id like '%/opencode';
update event_packs set project_id = split_part(project_id, '/', 1), log = 'opencode' where project_id like '%/opencode';

alter table log_heads
    alter column log drop default,
    add primary key (project_id, log),
    add foreign key (project_id) references projects (id) on delete cascade;
alter table log_sources
    alter column log drop default,
    add primary key (project_id, log, source),
    add foreign key (project_id, log) references log_heads (project_id, log) on delete cascade;
alter table log_storage
    alter column log drop default,
    add primary key (project_id, log),
    add foreign key (project_id, log) references log_heads (project_id, log) on delete cascade;
alter table events alter column log drop default, add primary key (project_id, log, seq);
alter table event_packs alter column log drop default, add primary key (project_id, log, last_seq);
create index log_heads_growing on log_heads (project_id, log) where growing;
create unique index events_by_key on events (project_id, log, event_key) where event_key is not null;

-- All logs of a deleted project go with it.
insert into deleted_projects (project_id, deleted_at)
select split_part(project_id, '/', 1), deleted_at from deleted_projects where project_id like '%/opencode'
on conflict do nothing;
delete from deleted_projects where project_id like '%/opencode';
