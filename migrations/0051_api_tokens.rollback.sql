-- Forgets all API tokens: none of them opens anything any more.

drop table api_tokens;
