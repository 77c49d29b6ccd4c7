-- Gateways that live, which of them looks after each turn, how far each turn has come, and prompts that wait their turn.

-- A gateway renews its row while it lives; one whose row has expired or is not there is dead, and what it held is
-- anybody's.
create table gateways (
    id         text primary key,
    started_at timestamptz not null default now(),
    expires_at timestamptz not null
);

alter table turns
    drop constraint turns_state_check,
    add constraint turns_state_check
        check (state in ('queued', 'running', 'completed', 'cancelled', 'failed', 'stalled', 'lost')),
    add column gateway_id       text,         -- whose task brings the prompt to the container and hears its answer
    add column before_seq       bigint,       -- the place in the log just before the turn's first event
    add column queued_at        timestamptz,
    add column prompt           bytea,        -- of a queued turn: JSON; once it has started, the log has it
    add column sent_at          timestamptz,  -- the prompt may have reached the container from here on
    add column delivered_at     timestamptz,  -- the container has taken it, and tells its end by an event
    add column unanswered_since timestamptz,  -- nobody hears the prompt's answer any more
    add column cancel_sent_at   timestamptz,  -- the container was asked to stop
    add column agent_stopped_at timestamptz,  -- its agent was stopped, because it had not
    add column said_seq         bigint,       -- the session's newest event when somebody last looked
    add column said_at          timestamptz,  -- when that was seen to be a new one
    alter column started_at drop not null;

create index turns_queued on turns (project_id, session_id, before_seq) where state = 'queued';
