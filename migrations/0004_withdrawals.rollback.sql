-- Containers that could not be reached keep what they were given.

drop table withdrawals;
