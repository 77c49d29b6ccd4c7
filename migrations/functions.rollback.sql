-- Drops all functions, and the triggers that call them.

drop trigger if exists log_heads_grow on log_heads;
drop trigger if exists keep_audit_entries on audit_entries;
drop trigger if exists keep_all_audit_entries on audit_entries;
drop trigger if exists keep_given_secret on given_credentials;
drop trigger if exists note_replaced_secret on agent_auth_tokens;

drop function if exists
    look_at_timeline,
    require_epoch,
    is_same_database,
    wal_timeline,
    append_events,
    append_series,
    note_activity,
    note_growth,
    acquire_leases,
    project_role,
    token_role,
    keep_audit_entries,
    sealed_with,
    keep_given_secret,
    note_replaced_secret,
    withdraw_credentials,
    gateway_lives;
