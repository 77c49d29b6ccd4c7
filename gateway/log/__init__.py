"""The log: every event of a project, in one order, stored before anybody sees it."""
