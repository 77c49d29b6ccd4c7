-- Browsers are signed in by a link that is good once; their API token opens only together with a cookie.

create table sign_in_links (
    digest     bytea primary key,    -- SHA-256 of 256 random bits
    user_id    text not null check (length(user_id) between 1 and 200),
    expires_at timestamptz not null
);

create index sign_in_links_by_end on sign_in_links (expires_at);

alter table api_tokens add column cookie bytea;  -- SHA-256 of the cookie that its browser has; null: it needs none
