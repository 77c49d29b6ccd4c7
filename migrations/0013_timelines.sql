-- Has gateways notice a failover to a standby that lacks the last commits.

-- How the database was when a gateway looked last. Null: no gateway has looked yet, or PostgreSQL does not tell.
alter table deployment
    add column timeline          text,                       -- of its write-ahead log, eight hexadecimal digits
    add column system_identifier bigint,                     -- of the initdb that made it
    add column epoch             integer not null default 0; -- which all logs began at the last failover; 0: none yet

-- Where the former epochs of a log ended at failovers: up to there its events are still those of that epoch.
create table former_epochs (
    project_id text not null,
    log        text not null,
    epoch      integer not null,
    head       bigint not null,
    ended_at   timestamptz not null default now(),
    primary key (project_id, log, epoch),
    foreign key (project_id, log) references log_heads (project_id, log) on delete cascade
);

create index former_epochs_by_age on former_epochs (ended_at);
