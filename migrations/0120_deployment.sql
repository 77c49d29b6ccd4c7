-- Gives the gateways on this database a name of their own, by which they know each other's requests.

create table deployment (
    id      text not null default replace(gen_random_uuid()::text, '-', ''),
    is_only boolean primary key default true check (is_only)
);

insert into deployment default values;
