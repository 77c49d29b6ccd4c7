-- Which gateway takes a lost session up, so that another does when that one dies.

alter table agent_sessions add column taken_up_by text;
