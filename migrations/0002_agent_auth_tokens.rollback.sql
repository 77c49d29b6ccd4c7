-- Forgets all tokens.

drop table agent_auth_tokens;
