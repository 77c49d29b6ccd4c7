-- Forgets what has been packed, which clients are told by a reset, and how long events are kept.

drop index turns_unfolded;
alter table turns drop column folded;

drop index agent_session_messages_by_age;
delete from agent_session_messages m where not exists (select from projects p where p.id = m.project_id);
alter table agent_session_messages
    add constraint agent_session_messages_project_id_fkey
        foreign key (project_id) references projects (id) on delete cascade;

delete from events e using deleted_projects d where e.project_id = d.project_id;
drop table deleted_projects;
alter table projects drop column retention;
drop table log_storage;

update log_heads h set floor = greatest(h.floor, p.last_seq)
    from (select project_id, max(last_seq) as last_seq from event_packs group by project_id) p
    where p.project_id = h.project_id;
drop table event_packs;
