-- Which key has sealed a secret, read from its own header: a login's secrets may be sealed with several.

create function sealed_with(sealed bytea) returns text
language sql immutable strict parallel safe as
$$ select case when length(sealed) > 1 then encode(substring(sealed from 3 for get_byte(sealed, 1)), 'escape') end $$;
