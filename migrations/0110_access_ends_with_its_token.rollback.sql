-- Logins outlive the token that they were begun with.

alter table pending_logins drop column token_id;
drop function token_role(text, text);
