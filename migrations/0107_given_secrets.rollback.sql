-- Keeps of what containers were given the newest version's number alone.

drop trigger keep_given_secret on given_credentials;
drop function keep_given_secret();
drop trigger note_replaced_secret on agent_auth_tokens;
drop function note_replaced_secret();
drop table given_secrets;
