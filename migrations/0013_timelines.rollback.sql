-- The version before knows no failovers.

drop table former_epochs;
alter table deployment drop column timeline, drop column system_identifier, drop column epoch;
