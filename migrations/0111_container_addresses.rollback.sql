-- Forgets where containers are, but for what their projects say.

drop table container_addresses;
