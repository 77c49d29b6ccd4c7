-- Forgets all keys: a call that is sent again from here on is done again.

drop table idempotency_keys;
