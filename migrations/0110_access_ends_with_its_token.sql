-- What was got with an API token ends with it: passes to streams, and logins at providers.

-- The most that an API token allows in a project; null: nothing, as it was revoked, has expired, or never did.
create function token_role(which text, project text) returns text language sql stable as $$
    select max_role from api_tokens
    where id = which and revoked_at is null and (expires_at is null or expires_at > now())
        and (projects is null or project = any (projects))
$$;

alter table pending_logins add column token_id text;  -- the API token that it was begun with
