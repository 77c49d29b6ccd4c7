-- Forgets all passes: browsers that are connected by one must get a new ticket.

drop table stream_passes;
