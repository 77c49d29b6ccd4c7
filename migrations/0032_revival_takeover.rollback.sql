-- Forgets who takes lost sessions up.

alter table agent_sessions drop column taken_up_by;
