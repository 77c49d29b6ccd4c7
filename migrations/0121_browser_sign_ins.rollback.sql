-- Browsers are signed in by pasted API tokens alone; those that came by a link are signed out.

delete from api_tokens where cookie is not null;
alter table api_tokens drop column cookie;
drop table sign_in_links;
