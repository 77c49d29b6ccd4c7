-- Forgets who follows.

drop function acquire_lease(text, text, double precision);
drop table follower_leases;
drop sequence follower_fences;
