-- Forgets the tokens whose provider could not be told; it ends them in its own time.

drop table unrevoked_tokens;
