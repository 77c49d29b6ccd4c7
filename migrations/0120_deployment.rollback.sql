-- Takes the name away.

drop table deployment;
