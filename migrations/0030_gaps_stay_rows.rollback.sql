-- Says of each pack again whether it has gaps: those of now have none.

alter table event_packs add column gaps boolean not null default false;
alter table event_packs alter column gaps drop default;
