-- What is answered without asking anybody: a project's mode and rules, and how long a request waits for somebody.

alter table projects
    add column permission_mode    text not null default 'ask'
        check (permission_mode in ('ask', 'accept-edits', 'full-auto')),
    add column permission_rules   jsonb not null default '[]',    -- [{kind, action}], the first that matches counts
    add column permission_timeout double precision,               -- seconds; null: the gateway's setting
    add column asks_permission    boolean not null default true;  -- false: its container allows by itself

alter table permissions
    add column rule       bytea,        -- JSON: the rule or the mode that answered
    add column expires_at timestamptz;  -- nobody having answered by then is a refusal

update permissions set expires_at = now() + interval '10 minutes' where state = 'waiting';
