-- Forgets projects' modes and rules: people are asked about everything.

alter table permissions
    drop column expires_at,
    drop column rule;
alter table projects
    drop column asks_permission,
    drop column permission_timeout,
    drop column permission_rules,
    drop column permission_mode;
