-- Forgets the logins under way; people begin them anew.

drop table pending_logins;
