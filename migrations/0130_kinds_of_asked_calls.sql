-- By which kinds an agent has called the call that it asks leave for.

alter table permissions add column kinds text[];  -- null among them, or in their place: it may be any
