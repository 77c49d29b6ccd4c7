-- Lets an idempotency key be held as long as its gateway lives, without a time of its own.

alter table idempotency_keys alter column held_until drop not null;
