-- What the follower of a container has found it to be: read once a boot, and known to all gateways.

create table container_facts (
    project_id        text primary key references projects (id) on delete cascade,
    fence             bigint not null,  -- of the lease under which it was found; of no other one is it true
    boot_id           text,             -- null: the container has none
    capabilities      text[] not null,
    working_directory text
);
