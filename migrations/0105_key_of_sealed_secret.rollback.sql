-- Forgets how to read it.

drop function sealed_with(bytea);
