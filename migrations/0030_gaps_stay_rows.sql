-- Gaps stay rows of their own, as whoever looks for what is missing asks for them: no pack has any.

alter table event_packs drop column gaps;
