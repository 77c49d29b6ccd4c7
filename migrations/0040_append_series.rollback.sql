-- Looks at each event again.

drop function append_series(
    text, bigint, text, bigint, text[], text[], text[], text[], integer[], bigint[], integer[], integer[], bytea);
