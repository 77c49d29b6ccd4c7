-- All tables, as of version 0.1.0.

-- Projects -----------------------------------------------------------------------------------------------------------

create table projects (
    id                     text primary key check (id ~ '^[a-z0-9-]{1,64}$'),
    owner_id               text not null,
    name                   text not null,
    container_url          text not null,
    acp_url                text,
    default_agent_id       text,
    created_at             timestamptz not null default now(),
    updated_at             timestamptz not null default now(),
    retention              jsonb,  -- {"maxAgeDays", "maxBytes"}, each null for no limit; null: the gateway's settings
    permission_mode        text not null default 'ask' check (permission_mode in ('ask', 'accept-edits', 'full-auto')),
    permission_rules       jsonb not null default '[]',    -- [{kind, action}], the first that matches counts
    permission_timeout     double precision,               -- seconds; null: the gateway's setting
    asks_permission        boolean not null default true,  -- false: its container allows by itself
    sealed_container_token bytea,  -- the secret that its container wants; null: the gateway's general one is sent
    container_token_key_id text,
    record_opencode_events boolean not null default false,
    opencode_directory     text,   -- where its OpenCode was started, as it last said: whose events are recorded
    constraint projects_container_token_check
        check ((sealed_container_token is null) = (container_token_key_id is null))
);

create index projects_by_owner on projects (owner_id, created_at, id);
create index projects_by_container_token_key on projects (container_token_key_id)
    where container_token_key_id is not null;
create index projects_with_retention on projects (id) where retention is not null;
create index projects_recording on projects (id) where record_opencode_events;

-- What a container last said of its agents, for the time when it is away.
create table project_agents (
    project_id    text not null references projects (id) on delete cascade,
    agent_id      text not null,
    name          text not null,
    description   text,
    requires_auth boolean not null default false,
    authenticated boolean not null default false,
    status        text not null,
    error         text,
    updated_at    timestamptz not null default now(),
    primary key (project_id, agent_id)
);

-- Who besides its owner may use a project, and as what.
create table project_members (
    project_id text not null references projects (id) on delete cascade,
    user_id    text not null check (length(user_id) between 1 and 200),
    role       text not null check (role in ('viewer', 'operator', 'admin')),
    added_by   text not null,
    added_at   timestamptz not null default now(),
    primary key (project_id, user_id)
);

create index project_members_by_user on project_members (user_id, project_id);

-- Where projects' containers are, so that nobody registers the container of another owner again. A project has its
-- OpenCode and its ACP port, each with a row for the host as it is written and one for each address that it resolves
-- to. Checked and written under lock_addresses: of two who register one container at once the second is refused.
create table container_addresses (
    project_id text not null references projects (id) on delete cascade,
    host       text not null,     -- as it is written, in lower case
    port       integer not null,
    address    text not null,     -- the host, or an IP address that it stands for
    primary key (project_id, host, port, address)
);

create index container_addresses_by_address on container_addresses (address, port);
create index container_addresses_by_host on container_addresses (host, port);

-- Deleted projects of which rows are left. Until those are gone, nobody else gets the id.
create table deleted_projects (
    project_id text primary key,
    deleted_at timestamptz not null default now()
);

-- Sessions -----------------------------------------------------------------------------------------------------------

create table agent_sessions (
    project_id           text not null references projects (id) on delete cascade,
    id                   text not null,
    user_id              text not null,
    agent_id             text not null,
    container_session_id text,
    working_directory    text,
    title                text,
    status               text not null check (status in ('creating', 'active', 'ended')),
    folded_to            bigint not null default 0,  -- messages cover the log up to here
    cleared_to           bigint not null default 0,  -- what stands at or before this is not shown as history
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now(),
    ended_at             timestamptz,
    acp_session_id       text,                       -- the agent's own id for it
    container_boot_id    text,                       -- the boot that has container_session_id
    has_mcp_servers      boolean not null default false,
    taken_up_by          text,                       -- the gateway that revives it
    credential_user_id   text,                       -- whose credential it runs with
    primary key (project_id, id)
);

create unique index agent_sessions_by_container on agent_sessions (project_id, container_session_id)
    where container_session_id is not null;
create index agent_sessions_by_age on agent_sessions (project_id, created_at, id);
create index agent_sessions_alive on agent_sessions (project_id) where status <> 'ended';
create index agent_sessions_in_creation on agent_sessions (created_at) where status = 'creating';

create table turns (
    project_id           text not null references projects (id) on delete cascade,
    id                   text not null,
    session_id           text not null,
    user_id              text not null,
    state                text not null
        check (state in ('queued', 'running', 'completed', 'cancelled', 'failed', 'stalled', 'lost')),
    container_turn_id    text,
    container_boot_id    text,         -- the container's boot that was given the prompt; a later one does not run it
    stop_reason          text,
    failure              text,
    message              text,
    cancel_requested_at  timestamptz,
    started_at           timestamptz default now(),
    ended_at             timestamptz,
    gateway_id           text,         -- whose task brings the prompt to the container and hears its answer
    before_seq           bigint,       -- the place in the log just before the turn's first event
    queued_at            timestamptz,
    prompt               bytea,        -- of a queued turn: JSON; once it has started, the log has it
    sent_at              timestamptz,  -- the prompt may have reached the container from here on
    delivered_at         timestamptz,  -- the container has taken it, and tells its end by an event
    unanswered_since     timestamptz,  -- nobody hears the prompt's answer any more
    cancel_sent_at       timestamptz,  -- the container was asked to stop
    agent_stopped_at     timestamptz,  -- its agent was stopped, because it had not
    said_seq             bigint,       -- the session's newest event when somebody last looked
    said_at              timestamptz,  -- when that was seen to be a new one
    folded               boolean not null default false,  -- its messages are written
    container_session_id text,         -- which of the session's container sessions the prompt was given to
    primary key (project_id, id)
);

-- One turn at a time: whoever inserts the second one is told that the session is busy.
create unique index turns_one_running on turns (project_id, session_id) where state = 'running';
create index turns_by_session on turns (project_id, session_id, started_at);
create index turns_queued on turns (project_id, session_id, before_seq) where state = 'queued';
create index turns_open on turns (project_id, session_id) where state in ('queued', 'running');
create index turns_by_end on turns (project_id, ended_at) where ended_at is not null;
create index turns_by_container_turn on turns (project_id, session_id, container_turn_id)
    where container_turn_id is not null;
create index turns_by_container_session on turns (project_id, container_session_id, started_at)
    where container_session_id is not null;
-- A gateway that dies between a turn's end and its messages leaves it here.
create index turns_unfolded on turns (ended_at) where not folded and ended_at is not null;
create index turns_of_session_unfolded on turns (project_id, session_id) where not folded and ended_at is not null;

create table permissions (
    project_id           text not null references projects (id) on delete cascade,
    id                   text not null,
    container_request_id text not null,
    container_boot_id    text,           -- the boot that asks; a later one may give the id to another request
    request_key          text not null,  -- which request it is: a digest of its boot, its session and its id there
    session_id           text not null,
    turn_id              text,
    agent_id             text,
    tool_call            bytea not null,
    options              bytea not null,
    state                text not null check (state in ('waiting', 'answering', 'selected', 'cancelled')),
    option_id            text,
    resolved_by          text,
    requested_at         timestamptz not null default now(),
    resolved_at          timestamptz,
    answer_id            text,           -- the answer that has claimed the request, known again when it is sent again
    answered_at          timestamptz,
    attempt_until        timestamptz,    -- until then somebody is giving the container the answer
    gone                 boolean not null default false,  -- cancelled because nobody waits for an answer any more
    rule                 bytea,          -- JSON: the rule or the mode that answered
    expires_at           timestamptz,    -- nobody having answered by then is a refusal
    kinds                text[],         -- as which the call was described; null among them or instead: maybe any
    primary key (project_id, id)
);

create unique index permissions_by_request on permissions (project_id, request_key);
create index permissions_unsettled on permissions (project_id, requested_at)
    where state in ('waiting', 'answering');

-- What people read: messages folded from the log, each with the range of events that it covers. No foreign key: they
-- may be many, and go after their project, as its events do.
create table agent_session_messages (
    project_id   text not null,
    session_id   text not null,
    first_seq    bigint not null,
    last_seq     bigint not null,
    role         text not null check (role in ('user', 'assistant', 'thought', 'tool', 'plan')),
    turn_id      text,
    tool_call_id text,
    at           timestamptz not null,
    updated_at   timestamptz not null,
    body         bytea not null,  -- JSON of what the role has: content, toolCall or entries
    primary key (project_id, session_id, first_seq)
);

create index agent_session_messages_by_tool_call on agent_session_messages (project_id, session_id, tool_call_id)
    where tool_call_id is not null;
create index agent_session_messages_by_age on agent_session_messages (project_id, updated_at);

-- Responses to requests with an Idempotency-Key, so that a repeated request is done once. A key belongs to a user and a
-- project. It names what its request makes (a turn, a session) before anything happens, so that whoever gets the
-- request again after a crash goes on with that.
create table idempotency_keys (
    project_id  text not null references projects (id) on delete cascade,
    user_id     text not null,
    key         text not null,
    digest      bytea not null,        -- SHA-256 of method, path and body: another request must not have the same key
    resource_id text not null,
    holder      text not null,         -- the attempt of a gateway that works on it until held_until
    held_until  timestamptz not null,
    status      integer,               -- null: not answered yet
    location    text,
    body        bytea,
    created_at  timestamptz not null default now(),
    primary key (project_id, user_id, key)
);

create index idempotency_keys_by_age on idempotency_keys (created_at);

-- The log ------------------------------------------------------------------------------------------------------------

-- Each log has an epoch of its own, so that a cursor of another log is refused, also one of a deleted log of the same
-- project.
create sequence log_epochs as integer;

-- Each project's events are numbered 1, 2, 3 without holes, in the order in which they were committed. A project that
-- records its OpenCode's own events has a second log, '<project>/opencode'; no project's id has a slash.
create table log_heads (
    project_id text primary key,
    epoch      integer not null default nextval('log_epochs'),  -- raised when the log is restored from a backup
    head       bigint not null default 0,   -- seq of the newest event
    floor      bigint not null default 0,   -- events up to here have been deleted
    fence      bigint not null default 0,   -- the newest follower's; appends under an older one are refused
    growing    boolean not null default true,  -- events came since there were last found too few to be packed
    of_project text generated always as (split_part(project_id, '/', 1)) stored
        references projects (id) on delete cascade
);

create index log_heads_by_project on log_heads (of_project);
create index log_heads_growing on log_heads (project_id) where growing;

-- How far each source of numbered events has been stored.
create table log_sources (
    project_id text not null references log_heads (project_id) on delete cascade,
    source     text not null,
    mark       bigint not null,
    updated_at timestamptz not null default now(),
    primary key (project_id, source)
);

-- No foreign key: append_events locks the project's head, which goes with the project, and a check of each row would
-- cost more than the row.
create table events (
    project_id text not null,
    seq        bigint not null,
    type       text not null,
    session_id text,
    turn_id    text,
    agent_id   text,
    at         timestamptz not null,
    event_key  text,                        -- an event of this key is stored once, whoever reports it
    payload    bytea not null,              -- JSON as it came
    primary key (project_id, seq)
);

create unique index events_by_key on events (project_id, event_key) where event_key is not null;
create index events_by_session on events (project_id, session_id, seq) where session_id is not null;
create index events_gaps on events (project_id, seq) where type = 'gap';

-- Old events, many in a row of compressed bytes. Those with a key stay rows, as that must be unique, and so do gaps,
-- as they are looked for. No foreign key: see events.
create table event_packs (
    project_id text not null,
    first_seq  bigint not null,
    last_seq   bigint not null,
    sessions   text[] not null,             -- whose events are in it
    newest_at  timestamptz not null,        -- of its events
    packed_at  timestamptz not null default now(),
    encoded    bytea not null,              -- as gateway/log/packs.py says
    primary key (project_id, last_seq)
);

-- They are compressed already.
alter table event_packs alter column encoded set storage external;

-- Whoever packs or deletes a log's events holds its row here, never the log's head for long.
create table log_storage (
    project_id text primary key references log_heads (project_id) on delete cascade,
    packed_to  bigint not null default 0,   -- up to here no event without a key is left to be packed
    seen_head  bigint not null default 0,   -- where the log ended at seen_at: up to here events are older than that
    seen_at    timestamptz not null default now(),
    looked_at  timestamptz not null default now()  -- when somebody last looked what need not be kept
);

create index log_storage_by_look on log_storage (looked_at);

-- Gateways -----------------------------------------------------------------------------------------------------------

-- A name for the gateways on this database, by which they recognise each other's requests.
create table deployment (
    id      text not null default replace(gen_random_uuid()::text, '-', ''),
    is_only boolean primary key default true check (is_only)
);

insert into deployment default values;

-- A gateway renews its row while it lives; one whose row has expired or is not there is dead, and what it held is
-- anybody's.
create table gateways (
    id         text primary key,
    started_at timestamptz not null default now(),
    expires_at timestamptz not null
);

-- No fence is given twice, not even to a project that was deleted and made again.
create sequence follower_fences;

-- Who reads each container's streams: a lease by the database's clock, with a fence that appends check.
create table follower_leases (
    project_id         text primary key references projects (id) on delete cascade,
    holder             text not null,
    fence              bigint not null,
    expires_at         timestamptz not null,
    connected          boolean not null default false,  -- the holder is reading the container's stream
    source             text,                            -- what it read last: a container's boot, or 'unnumbered'
    wanted             boolean not null default true,   -- somebody had a reason to follow when it was last given up
    opencode_connected boolean not null default false,
    opencode_stored_at timestamptz                      -- all that OpenCode said until then is stored; null: never
);

create index follower_leases_wanted on follower_leases (project_id) where wanted;

-- Credentials --------------------------------------------------------------------------------------------------------

-- A constant sealed under each key: tells a wrong key under a known id before anything is sealed with it.
create table vault_keys (
    key_id       text primary key,
    sealed_check bytea not null,
    created_at   timestamptz not null default now()
);

-- From one sequence for all: a row that was deleted and made anew is never taken for the former one.
create sequence agent_auth_token_versions;

-- Users' credentials for agents, sealed: nothing here can be read without the gateway's key.
create table agent_auth_tokens (
    user_id              text not null,
    agent_id             text not null,
    token_type           text not null check (token_type in ('api_key', 'oauth', 'token')),
    sealed_access_token  bytea not null,
    sealed_refresh_token bytea,
    key_id               text not null,
    scopes               text[] not null default '{}',
    expires_at           timestamptz,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now(),
    provider_id          text,
    subject              text,
    refresh_expires_at   timestamptz,
    state                text not null default 'authorized' check (state in ('authorized', 'needs_reauth')),
    state_reason         text,
    version              bigint not null default nextval('agent_auth_token_versions'),
    fingerprint          text not null,
    primary key (user_id, agent_id)
);

create index agent_auth_tokens_by_key on agent_auth_tokens (key_id);
create index agent_auth_tokens_by_end on agent_auth_tokens (expires_at)
    where state = 'authorized' and sealed_refresh_token is not null;

-- Who renews a credential now, so that it is one gateway at a time, and what became of the tries before.
create table credential_renewals (
    user_id    text not null,
    agent_id   text not null,
    version    bigint not null,                 -- of the credential: for another one nothing here counts
    holder     text not null default '',
    held_until timestamptz,
    asked      boolean not null default false,  -- the provider is being asked; where that stays, the holder has died
    unanswered boolean not null default false,  -- the provider may have renewed it, and its answer did not arrive
    attempts   integer not null default 0,
    next_at    timestamptz,
    primary key (user_id, agent_id),
    foreign key (user_id, agent_id) references agent_auth_tokens on delete cascade
);

-- Tokens that are over here, and whose provider could not be told so yet. The row goes with the last try.
create table unrevoked_tokens (
    id                   text primary key,
    provider_id          text not null,
    sealed_access_token  bytea not null,
    sealed_refresh_token bytea,
    key_id               text not null,
    attempts             integer not null default 0,  -- those that have begun
    next_at              timestamptz not null,
    created_at           timestamptz not null default now()
);

create index unrevoked_tokens_due on unrevoked_tokens (next_at);

-- Logins at providers, until they end and a little longer, to tell how.
create table pending_logins (
    id                        text primary key,
    user_id                   text not null,
    project_id                text not null references projects (id) on delete cascade,
    agent_id                  text not null,
    provider_id               text not null,
    flow                      text not null,
    -- pending; arrived (a code waits for its user's consent); exchanging; authorized, or how else it ended
    state                     text not null default 'pending'
        check (state in
            ('pending', 'arrived', 'exchanging', 'authorized', 'denied', 'expired', 'failed', 'superseded')),
    code                      text,  -- why it ended otherwise: a stable word, and a sentence for people
    detail                    text,
    scopes                    text[] not null default '{}',
    expires_at                timestamptz not null,
    created_at                timestamptz not null default now(),
    ended_at                  timestamptz,
    -- Of a login in the browser.
    state_hash                bytea unique,
    redirect_uri              text,
    sealed_verifier           bytea,
    sealed_code               bytea,
    -- Of the page that tells how it ended.
    page_hash                 bytea unique,
    -- Of a device login.
    sealed_device_code        bytea,
    user_code                 text,
    verification_uri          text,
    verification_uri_complete text,
    poll_interval             double precision,
    poll_failures             integer not null default 0,
    next_poll_at              timestamptz,
    -- Who asks the provider now; one at a time.
    polled_by                 text,
    polled_until              timestamptz,
    token_id                  text   -- the API token that it was begun with
);

-- A user has one login under way for an agent; the next one takes its place.
create unique index pending_logins_alive on pending_logins (user_id, agent_id)
    where state in ('pending', 'arrived', 'exchanging');
create index pending_logins_newest on pending_logins (user_id, agent_id, created_at desc);
create index pending_logins_due on pending_logins (next_poll_at) where state = 'pending' and next_poll_at is not null;
create index pending_logins_by_project on pending_logins (project_id);
create index pending_logins_by_age on pending_logins (created_at);

-- Which credentials a project's container was given.
create table given_credentials (
    project_id        text not null references projects (id) on delete cascade,
    agent_id          text not null,
    user_id           text not null,
    owner             text not null,  -- the container's name for the user: says nothing, and nobody can guess it
    version           bigint not null,
    container_boot_id text,           -- the boot that has taken this version; null: none has, or it has no boots
    taken             boolean not null default false,
    known_to          text,           -- the gateway that masks this version's secrets in what the container says
    given_at          timestamptz not null default now(),
    primary key (project_id, agent_id, user_id)
);

create unique index given_credentials_by_owner on given_credentials (project_id, owner);
create index given_credentials_by_user on given_credentials (user_id, agent_id);
create index given_credentials_by_time on given_credentials (given_at);

-- Each secret that a container was given, for as long as something there may run with it.
create table given_secrets (
    project_id          text not null references projects (id) on delete cascade,
    agent_id            text not null,
    user_id             text not null,
    version             bigint not null,
    sealed_access_token bytea not null,  -- as in agent_auth_tokens, and sealed to its place there
    key_id              text not null,
    replaced_at         timestamptz,     -- since when it is no user's credential any more
    primary key (project_id, agent_id, user_id, version)
);

create index given_secrets_by_key on given_secrets (key_id);
create index given_secrets_by_user on given_secrets (user_id, agent_id, version) where replaced_at is null;
create index given_secrets_by_end on given_secrets (replaced_at) where replaced_at is not null;

-- A user's credential is bound to the container's address at which they had it used. Written when the user acts
-- themselves: makes a session, spawns an agent, prompts. Where the project is at another address by then, the
-- credential is not handed to the container.
create table credential_addresses (
    project_id text not null references projects (id) on delete cascade,
    agent_id   text not null,
    user_id    text not null,
    address    text not null,  -- what the project's ACP port was found by
    agreed_at  timestamptz not null default now(),
    primary key (project_id, agent_id, user_id)
);

create sequence agent_process_claims;

-- In a container of the base contract an agent has one process, and that has one environment.
create table agent_processes (
    project_id  text not null references projects (id) on delete cascade,
    agent_id    text not null,
    user_id     text,    -- whose credential it has; null: nobody's
    version     bigint,
    claim       bigint not null default nextval('agent_process_claims'),
    starting_by text,    -- the gateway that is having it started; null: it was started
    primary key (project_id, agent_id)
);

-- Access -------------------------------------------------------------------------------------------------------------

create table api_tokens (
    id           text primary key,
    user_id      text not null check (length(user_id) between 1 and 200),
    name         text,
    digest       bytea not null unique,  -- SHA-256: the token has 256 random bits, which nobody guesses from it
    max_role     text not null check (max_role in ('viewer', 'operator', 'admin')),
    projects     text[],                 -- null: all that the user may use
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,            -- within some minutes
    cookie       bytea                   -- SHA-256 of the cookie that its browser has; null: it needs none
);

create index api_tokens_by_user on api_tokens (user_id, created_at);

-- Browsers are signed in by a link that is good once; their API token is accepted together with a cookie alone.
create table sign_in_links (
    digest     bytea primary key,    -- SHA-256 of 256 random bits
    user_id    text not null check (length(user_id) between 1 and 200),
    expires_at timestamptz not null
);

create index sign_in_links_by_end on sign_in_links (expires_at);

-- Browsers' access to event streams and to what containers stream, each to one path below its project and up to a role:
-- tickets, which open one once, and the cookies that they are exchanged for.
create table stream_passes (
    project_id text not null references projects (id) on delete cascade,
    digest     bytea not null,    -- SHA-256 of 256 random bits
    kind       text not null check (kind in ('ticket', 'cookie')),
    user_id    text not null,
    mode       text not null,     -- how whoever got it had authenticated
    token_id   text,              -- the API token that they had shown: ends with it
    ends_at    timestamptz,       -- when the credential ends that they had shown, where it does
    expires_at timestamptz not null,
    path       text not null,     -- as it stands in the URL, percent-encoded
    max_role   text not null check (max_role in ('viewer', 'operator')),
    primary key (project_id, digest)
);

create index stream_passes_by_end on stream_passes (expires_at);

-- The audit: who did what to which project, from where, with what outcome. Rows are added and never changed.
create table audit_entries (
    project_id text,                 -- null: of no project, as where somebody could not be authenticated
    id         bigint generated always as identity,
    at         timestamptz not null default now(),
    user_id    text,                 -- null: nobody knows
    mode       text,
    token_id   text,
    method     text not null,
    path       text not null,        -- without its query
    outcome    text not null check (outcome in ('done', 'refused', 'failed', 'left')),
    status     integer,
    code       text,
    address    text,
    request_id text not null,
    repeats    integer not null default 0  -- how many like it have been left out before it
);

create index audit_entries_by_project on audit_entries (project_id, id);
create index audit_entries_by_age on audit_entries (at);
