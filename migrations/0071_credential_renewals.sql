-- Who renews a credential now, so that it is one gateway at a time, and what became of the tries before.

create table credential_renewals (
    user_id    text not null,
    agent_id   text not null,
    -- Of the credential that this is about; of another one nothing here counts.
    version    bigint not null,
    holder     text not null default '',
    held_until timestamptz,
    -- Whether the provider is being asked; where that stays, whoever asked has died.
    asked      boolean not null default false,
    -- Whether a provider may have renewed it without its answer having arrived.
    unanswered boolean not null default false,
    attempts   integer not null default 0,
    next_at    timestamptz,
    primary key (user_id, agent_id),
    foreign key (user_id, agent_id) references agent_auth_tokens on delete cascade
);
