-- Who is answering a permission request: which answer has claimed it, since when, and who brings it to the container.

alter table permissions
    add column answer_id     text,         -- the answer that has claimed the request, known again when it is sent again
    add column answered_at   timestamptz,
    add column attempt_until timestamptz,  -- until then somebody is giving the container the answer
    add column gone          boolean not null default false;  -- cancelled because nobody waits for an answer any more
