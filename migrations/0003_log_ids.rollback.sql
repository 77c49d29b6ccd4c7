-- Has one text stand for a project and which of its logs.

alter table log_sources drop constraint log_sources_project_id_log_fkey, drop constraint log_sources_pkey;
alter table log_storage drop constraint log_storage_project_id_log_fkey, drop constraint log_storage_pkey;
alter table log_heads drop constraint log_heads_project_id_fkey, drop constraint log_heads_pkey;
alter table events drop constraint events_pkey;
alter table event_packs drop constraint event_packs_pkey;
drop index log_heads_growing, events_by_key;

insert into deleted_projects (project_id, deleted_at)
select project_id || '/opencode', deleted_at from deleted_projects;

update log_heads set project_id = project_id || '/opencode' where log = 'opencode';
update log_sources set project_id = project_id || '/opencode' where log = 'opencode';
update log_storage set project_id = project_id || '/opencode' where log = 'opencode';
update events set project_id = project_id || '/opencode' where log = 'opencode';
update event_packs set project_id = project_id || '/opencode' where log = 'opencode';

alter table log_heads
    drop column log,
    add column of_project text generated always as (split_part(project_id, '/', 1)) stored
        references projects (id) on delete cascade,
    add primary key (project_id);
alter table log_sources
    drop column log,
    add primary key (project_id, source),
    add foreign key (project_id) references log_heads (project_id) on delete cascade;
alter table log_storage
    drop column log,
    add primary key (project_id),
    add foreign key (project_id) references log_heads (project_id) on delete cascade;
alter table events drop column log, add primary key (project_id, seq);
alter table event_packs drop column log, add primary key (project_id, last_seq);
create index log_heads_by_project on log_heads (of_project);
create index log_heads_growing on log_heads (project_id) where growing;
create unique index events_by_key on events (project_id, event_key) where event_key is not null;
