-- How logs are kept: old events packed, how long each project keeps them, and what is left of deleted projects.

-- Old events without a key, many in a row of compressed bytes; those with a key stay rows, whose uniqueness holds.
-- No foreign key: see events.
create table event_packs (
    project_id text not null,
    first_seq  bigint not null,
    last_seq   bigint not null,
    sessions   text[] not null,             -- whose events are in it
    gaps       boolean not null,            -- whether a gap of the project is in it
    newest_at  timestamptz not null,        -- of its events
    packed_at  timestamptz not null default now(),
    encoded    bytea not null,              -- as log/packs.py says
    primary key (project_id, last_seq)
);

-- They are compressed already.
alter table event_packs alter column encoded set storage external;

-- Whoever packs or deletes a project's events holds its row, never the head of its log for long.
create table log_storage (
    project_id text primary key references projects (id) on delete cascade,
    packed_to  bigint not null default 0,   -- up to here no event without a key is left to be packed
    seen_head  bigint not null default 0,   -- where the log ended at seen_at: up to here events are older than that
    seen_at    timestamptz not null default now(),
    looked_at  timestamptz not null default now()  -- when somebody last looked what need not be kept
);

insert into log_storage (project_id) select id from projects;

-- {"maxAgeDays", "maxBytes"}, each null where nothing is to be deleted for it; null: as the gateway is configured.
alter table projects add column retention jsonb;

-- Deleted projects of which rows are left; until they are gone, nobody else gets the id.
create table deleted_projects (
    project_id text primary key,
    deleted_at timestamptz not null default now()
);

-- A session's messages may be many: they go after the project, as its events do.
alter table agent_session_messages drop constraint agent_session_messages_project_id_fkey;
create index agent_session_messages_by_age on agent_session_messages (project_id, updated_at);

-- Turns whose messages may not be written yet: a gateway that dies between the two leaves some.
alter table turns add column folded boolean not null default false;
create index turns_unfolded on turns (ended_at) where not folded and ended_at is not null;
