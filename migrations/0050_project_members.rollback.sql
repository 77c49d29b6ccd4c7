-- Forgets all members: projects are their owners' alone.

drop function project_role(text, text);
drop table project_members;
