-- Forgets the log.

drop function append_events(
    text, bigint, text, bigint[], text[], text[], text[], text[], timestamptz[], text[], bytea[]);
drop table events;
drop table log_sources;
drop table log_heads;
drop sequence log_epochs;
