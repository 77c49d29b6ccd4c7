-- Every prompt asks its container what it is.

drop table container_facts;
