-- Users' credentials follow their projects to any address.

drop table credential_addresses;
