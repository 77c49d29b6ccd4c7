-- Forgets all projects and what their agents said.

drop table project_agents;
drop table projects;
