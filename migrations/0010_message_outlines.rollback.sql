-- Bodies are whole; outlines are made of them.

alter table agent_session_messages drop column outline, drop column outlined_to;
alter table agent_sessions drop column open_messages, drop column open_messages_at;
