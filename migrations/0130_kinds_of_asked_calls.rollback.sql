-- Forgets the kinds of the calls that agents ask leave for.

alter table permissions drop column kinds;
