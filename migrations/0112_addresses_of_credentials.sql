-- A user's credential is bound to the container's address at which they had it used.

-- Written when the user acts themselves: makes a session, spawns an agent, prompts. Where the project is at another
-- address by then, the credential is not handed to the container.
create table credential_addresses (
    project_id text not null references projects (id) on delete cascade,
    agent_id   text not null,
    user_id    text not null,
    address    text not null,  -- what the project's ACP port was found by
    agreed_at  timestamptz not null default now(),
    primary key (project_id, agent_id, user_id)
);

-- What containers have been given so far, they were given where their projects are.
insert into credential_addresses (project_id, agent_id, user_id, address)
select g.project_id, g.agent_id, g.user_id, coalesce(p.acp_url, p.container_url)
from given_credentials g join projects p on p.id = g.project_id;
