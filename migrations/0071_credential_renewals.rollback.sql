-- Forgets which credentials are being renewed.

drop table credential_renewals;
