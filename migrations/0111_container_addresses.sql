-- Where projects' containers are, as their addresses resolve: nobody registers the container of another owner again.

-- A project has its OpenCode and its ACP port, each with a row for the host as it is written and for what that stands
-- for. Checked and written under lock_addresses, so that of two who register one container at once the second is refused.
create table container_addresses (
    project_id text not null references projects (id) on delete cascade,
    host       text not null,     -- as it is written, in lower case
    port       integer not null,
    address    text not null,     -- the host, or an IP address that it stands for
    primary key (project_id, host, port, address)
);

create index container_addresses_by_address on container_addresses (address, port);
create index container_addresses_by_host on container_addresses (host, port);
