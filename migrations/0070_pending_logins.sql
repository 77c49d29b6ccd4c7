-- Logins at providers that people have begun, until they end and a little longer, to tell how.

create table pending_logins (
    id                        text primary key,
    user_id                   text not null,
    project_id                text not null references projects (id) on delete cascade,
    agent_id                  text not null,
    provider_id               text not null,
    flow                      text not null,
    -- pending; arrived (a code waits for its person's word); exchanging; authorized, or how else it ended
    state                     text not null default 'pending'
        check (state in ('pending', 'arrived', 'exchanging', 'authorized', 'denied', 'expired', 'failed', 'superseded')),
    -- Why it ended otherwise: a stable word, and a sentence for people.
    code                      text,
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
    polled_until              timestamptz
);

-- A person has one login under way for an agent; the next one takes its place.
create unique index pending_logins_alive on pending_logins (user_id, agent_id)
    where state in ('pending', 'arrived', 'exchanging');
create index pending_logins_newest on pending_logins (user_id, agent_id, created_at desc);
create index pending_logins_due on pending_logins (next_poll_at) where state = 'pending' and next_poll_at is not null;
create index pending_logins_by_project on pending_logins (project_id);
create index pending_logins_by_age on pending_logins (created_at);
