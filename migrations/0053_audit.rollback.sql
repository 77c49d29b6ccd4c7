-- Forgets the audit.

drop table audit_entries;
drop function keep_audit_entries();
