-- A retry continues the calls that were being worked on.

update idempotency_keys set held_until = now() where held_until is null;
alter table idempotency_keys alter column held_until set not null;
