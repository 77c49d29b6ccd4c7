-- Every statement of the gateway, by name. A name alone between dashes begins a block; the sentence below it says
-- what the statement is for.

-- get_deployment --
-- There is one row, made with the table. A copy of the database, as of a template, is another deployment.
select left(md5(p.id || d.oid), 16) as name
from deployment p, pg_database d where d.datname = current_database();

-- insert_project --
-- A project and the heads of its logs come into being together: of its own, and of OpenCode's where that is recorded.
with project as (
    insert into projects (id, owner_id, name, container_url, acp_url, default_agent_id, retention, permission_mode,
        permission_rules, permission_timeout, record_opencode_events, sealed_container_token, container_token_key_id,
        opencode_username, sealed_opencode_password)
    values (%(id)s, %(owner_id)s, %(name)s, %(container_url)s, %(acp_url)s, %(default_agent_id)s,
        %(retention)s::jsonb, %(permission_mode)s, %(permission_rules)s::jsonb, %(permission_timeout)s,
        %(record_opencode_events)s, %(sealed_container_token)s, %(container_token_key_id)s,
        %(opencode_username)s, %(sealed_opencode_password)s)
    returning *
), logs as (
    select id, 'acp' as log from project union all select id, 'opencode' from project where record_opencode_events
), head as (
    insert into log_heads (project_id, log) select id, log from logs
), storage as (
    insert into log_storage (project_id, log) select id, log from logs
)
select * from project;

-- get_project --
-- A project is looked up together with who asks: its owner, or one of its members.
select p.*, case when p.owner_id = %(user_id)s then 'admin' else m.role end as role
from projects p left join project_members m on m.project_id = p.id and m.user_id = %(user_id)s
where p.id = %(id)s and (p.owner_id = %(user_id)s or m.user_id is not null);

-- get_project_for_follower --
-- The follower works for whoever owns the project.
select * from projects where id = %(id)s;

-- list_projects --
-- The projects that somebody owns or is a member of, oldest first, after a given one; where some are named, of those.
with theirs as (
    select id, 'admin' as role from projects where owner_id = %(user_id)s
    union all
    select project_id, role from project_members where user_id = %(user_id)s
)
select p.*, t.role from projects p join theirs t using (id)
where (%(only)s::text[] is null or p.id = any(%(only)s::text[]))
    and (%(after)s::text is null
        or (p.created_at, p.id) > (select a.created_at, a.id from projects a where a.id = %(after)s))
order by p.created_at, p.id
limit %(limit)s;

-- lock_project --
-- The project, for whoever may change it, until they have.
select * from projects where id = %(id)s and project_role(id, %(user_id)s) = 'admin' for no key update;

-- update_project --
-- Changes what is given as changed; the rest stays. With another address the container's follower begins anew: `moved`.
-- The first time that OpenCode's events are to be recorded, they get a log.
with before as materialized (
    select * from projects where id = %(id)s
), expired as (
    update follower_leases l set expires_at = clock_timestamp(), holder = '', connected = false
    from before b
    where l.project_id = b.id
        and (('container_url' = any(%(changed)s) and b.container_url <> %(container_url)s)
            or ('acp_url' = any(%(changed)s) and b.acp_url is distinct from %(acp_url)s))
    returning l.project_id
), recorded as (
    insert into log_heads (project_id, log) select id, 'opencode' from before
    where 'record_opencode_events' = any(%(changed)s) and %(record_opencode_events)s
    on conflict do nothing
    returning project_id, log
), storage as (
    insert into log_storage (project_id, log) select project_id, log from recorded
)
update projects set
    name = case when 'name' = any(%(changed)s) then %(name)s else name end,
    container_url = case when 'container_url' = any(%(changed)s) then %(container_url)s else container_url end,
    acp_url = case when 'acp_url' = any(%(changed)s) then %(acp_url)s else acp_url end,
    default_agent_id =
        case when 'default_agent_id' = any(%(changed)s) then %(default_agent_id)s else default_agent_id end,
    retention = case when 'retention' = any(%(changed)s) then %(retention)s::jsonb else retention end,
    permission_mode = case when 'permission_mode' = any(%(changed)s) then %(permission_mode)s else permission_mode end,
    permission_rules =
        case when 'permission_rules' = any(%(changed)s) then %(permission_rules)s::jsonb else permission_rules end,
    permission_timeout =
        case when 'permission_timeout' = any(%(changed)s) then %(permission_timeout)s else permission_timeout end,
    record_opencode_events = case when 'record_opencode_events' = any(%(changed)s) then %(record_opencode_events)s
        else record_opencode_events end,
    opencode_directory = case when 'container_url' = any(%(changed)s) then null else opencode_directory end,
    sealed_container_token =
        case when 'container_token' = any(%(changed)s) then %(sealed_container_token)s else sealed_container_token end,
    container_token_key_id =
        case when 'container_token' = any(%(changed)s) then %(container_token_key_id)s else container_token_key_id end,
    opencode_username =
        case when 'opencode_username' = any(%(changed)s) then %(opencode_username)s else opencode_username end,
    sealed_opencode_password = case when 'opencode_password' = any(%(changed)s) then %(sealed_opencode_password)s
        else sealed_opencode_password end,
    updated_at = now()
from (select count(*) > 0 as moved from expired) follower
where id = %(id)s
returning *;

-- set_project_owner --
-- A project gets another owner, who is no member of it any more.
with project as (
    update projects set owner_id = %(owner_id)s, updated_at = now() where id = %(id)s returning id
)
delete from project_members m using project p where m.project_id = p.id and m.user_id = %(owner_id)s;

-- count_projects_of --
-- How many projects somebody owns.
select count(*) as owned from projects where owner_id = %(owner_id)s;

-- lock_addresses --
-- One at a time says where a project's container is, to the end of the transaction; the last lock that anybody takes.
select pg_advisory_xact_lock(hashtextextended('acp-gateway container addresses', 0));

-- find_taken_address --
-- Whether one of these is another project's: of another owner, or one that `by`, who wants it, does not administer.
select c.port
from unnest(%(ports)s::integer[], %(addresses)s::text[]) as wanted (port, address)
join container_addresses c using (port, address)
join projects p on p.id = c.project_id
join projects own on own.id = %(project_id)s
where p.id <> own.id
    and (p.owner_id <> own.owner_id
        or (%(by)s::text is not null and project_role(p.id, %(by)s) is distinct from 'admin'))
limit 1;

-- delete_addresses --
-- A project is somewhere else.
delete from container_addresses where project_id = %(project_id)s;

-- insert_addresses --
-- Where a project's container is: its hosts and ports, and what the hosts stand for.
insert into container_addresses (project_id, host, port, address)
select %(project_id)s, c.* from unnest(%(hosts)s::text[], %(ports)s::integer[], %(addresses)s::text[]) c;

-- addresses_of_host --
-- What a host stood for when somebody last looked.
select array_agg(distinct address) as addresses from container_addresses where host = %(host)s and port = %(port)s;

-- hosts_at --
-- Other hosts that stood for one of these addresses.
select distinct host from container_addresses
where port = %(port)s and address = any(%(addresses)s::text[]) and host <> address and host <> %(host)s
limit %(limit)s;

-- leave_addresses --
-- A host stands for no more than these addresses any more.
delete from container_addresses
where host = %(host)s and port = %(port)s and address <> host and address <> all(%(addresses)s::text[]);

-- others_addresses --
-- Those of a host's addresses that are taken by a project whose owner has none at this host.
select distinct c.address
from container_addresses c join projects p on p.id = c.project_id
where c.port = %(port)s and c.address = any(%(addresses)s::text[]) and c.host <> %(host)s
    and not exists (
        select from container_addresses h join projects o on o.id = h.project_id
        where h.host = %(host)s and h.port = %(port)s and o.owner_id = p.owner_id);

-- move_addresses --
-- A host stands for these addresses now.
with gone as (
    delete from container_addresses
    where host = %(host)s and port = %(port)s and address <> host and address <> all(%(addresses)s::text[])
)
insert into container_addresses (project_id, host, port, address)
select distinct c.project_id, c.host, c.port, a.address
from container_addresses c, unnest(%(addresses)s::text[]) as a (address)
where c.host = %(host)s and c.port = %(port)s
on conflict do nothing;

-- projects_with_addresses --
-- Projects after a given one, with the hosts and ports that are known of them.
select p.*, array(
    select distinct c.host || ' ' || c.port from container_addresses c where c.project_id = p.id) as known
from projects p
where %(after)s::text is null or p.id > %(after)s
order by p.id
limit %(limit)s;

-- shared_addresses --
-- Projects of different owners that have one container.
select distinct a.project_id as one, b.project_id as other
from container_addresses a
join container_addresses b using (port, address)
join projects p on p.id = a.project_id
join projects o on o.id = b.project_id
where p.owner_id < o.owner_id
limit %(limit)s;

-- list_members --
-- Who may use a project: its owner, then its members as they were added.
select owner_id as user_id, 'admin' as role, true as is_owner, null as added_by, created_at as added_at
from projects where id = %(project_id)s
union all
(select user_id, role, false, added_by, added_at from project_members where project_id = %(project_id)s
 order by added_at, user_id);

-- get_member --
-- One of those who may use a project.
select owner_id as user_id, 'admin' as role, true as is_owner, null as added_by, created_at as added_at
from projects where id = %(project_id)s and owner_id = %(user_id)s
union all
select user_id, role, false, added_by, added_at
from project_members where project_id = %(project_id)s and user_id = %(user_id)s;

-- put_member --
-- Makes a user a member or changes their role, if the caller is an admin and the user is not the owner. A viewer's agents
-- lose their credentials.
with put as (insert into project_members as m (project_id, user_id, role, added_by)
select p.id, %(user_id)s, %(role)s, %(by)s from projects p
where p.id = %(project_id)s and p.owner_id <> %(user_id)s and project_role(p.id, %(by)s) = 'admin'
    and (exists (select from project_members k where k.project_id = p.id and k.user_id = %(user_id)s)
        or (select count(*) from project_members k where k.project_id = p.id) < %(most)s)
on conflict (project_id, user_id) do update set role = excluded.role
returning *)
select user_id, role, false as is_owner, added_by, added_at,
    (select m.role from project_members m where m.project_id = put.project_id and m.user_id = put.user_id) as former_role,
    case when role = 'viewer' then withdraw_credentials(project_id, user_id, null, false) end
from put;

-- remove_member --
-- Ends a membership, if the caller is an admin or the member. The member's agents lose their credentials.
with removed as (
    delete from project_members
    where project_id = %(project_id)s and user_id = %(user_id)s
        and (user_id = %(by)s or project_role(project_id, %(by)s) = 'admin')
    returning project_id, user_id, role
)
select role, withdraw_credentials(project_id, user_id, null, false) from removed;

-- insert_api_token --
-- A token is kept by its digest alone.
insert into api_tokens (id, user_id, name, digest, max_role, projects, expires_at)
values (%(id)s, %(user_id)s, %(name)s, %(digest)s, %(max_role)s, %(projects)s::text[],
    now() + %(seconds)s * interval '1 second')
returning *;

-- replace_api_tokens --
-- A token takes the place of all of its user's that have its name, and of one more.
with former as (
    update api_tokens set revoked_at = now()
    where revoked_at is null and ((user_id = %(user_id)s and name = %(name)s) or id = %(former_id)s)
)
insert into api_tokens (id, user_id, name, digest, max_role) values
    (%(id)s, %(user_id)s, %(name)s, %(digest)s, %(max_role)s);

-- find_api_token --
-- Whose token somebody shows.
select * from api_tokens where digest = %(digest)s;

-- list_api_tokens --
-- All tokens, or one user's.
select * from api_tokens where %(user_id)s::text is null or user_id = %(user_id)s order by created_at, id;

-- revoke_api_token --
-- A token opens nothing from here on; when that began stays.
update api_tokens set revoked_at = coalesce(revoked_at, now()) where id = %(id)s returning *;

-- note_api_token_use --
-- When a token was last used, not more often than needed.
update api_tokens set last_used_at = now()
where id = %(id)s and (last_used_at is null or last_used_at < now() - %(seconds)s * interval '1 second');

-- insert_sign_in_link --
-- A link that signs a browser in as this user, once.
insert into sign_in_links (digest, user_id, expires_at)
values (%(digest)s, %(user_id)s, now() + %(seconds)s * interval '1 second');

-- exchange_sign_in_link --
-- A link is good once: whoever deletes it has an API token in its place, which opens together with a cookie.
with link as (
    delete from sign_in_links where digest = %(link)s and expires_at > now() returning user_id
)
insert into api_tokens (id, user_id, name, digest, cookie, max_role, expires_at)
select %(id)s, user_id, %(name)s, %(digest)s, %(cookie)s, 'admin', now() + %(seconds)s * interval '1 second' from link
returning *;

-- revoke_browser --
-- A browser is signed out.
update api_tokens set revoked_at = coalesce(revoked_at, now()) where id = %(id)s and cookie is not null returning id;

-- revoke_browsers --
-- Every browser that came by a link is signed out, and what has not been used yet opens nothing.
with links as (
    delete from sign_in_links
)
update api_tokens set revoked_at = now() where cookie is not null and revoked_at is null;

-- delete_ended_sign_ins --
-- What nobody can use any more. All that was got with such a token has ended with it.
with links as (
    delete from sign_in_links where expires_at < now()
)
delete from api_tokens where cookie is not null and expires_at < now();

-- insert_stream_ticket --
-- Somebody who may have a stream lets their browser open it; of tickets that nobody has used only so many at a time.
insert into stream_passes (project_id, digest, kind, path, max_role, user_id, mode, token_id, ends_at, expires_at)
select %(project_id)s, %(digest)s, 'ticket', %(path)s, %(max_role)s, %(user_id)s, %(mode)s, %(token_id)s,
    %(ends_at)s::timestamptz, least(now() + %(seconds)s * interval '1 second', %(ends_at)s::timestamptz)
where (select count(*) from stream_passes p where p.project_id = %(project_id)s and p.user_id = %(user_id)s
    and p.kind = 'ticket' and p.expires_at > now()) < %(most)s
returning expires_at;

-- exchange_stream_ticket --
-- A ticket is good once: whoever deletes it has the cookie in its place, and in that of the one they had before. Neither
-- outlives the API token that it was got with. `role`: its user's in the project now.
with ticket as (
    delete from stream_passes
    where project_id = %(project_id)s and digest = %(digest)s and kind = 'ticket'
        and path = %(path)s and expires_at > now() and mode = any(%(modes)s)
        and (token_id is null or token_role(token_id, project_id) is not null)
    returning *
), replaced as (
    delete from stream_passes p using ticket t
    where p.project_id = t.project_id and p.digest = %(former)s and p.kind = 'cookie' and p.path = t.path
)
insert into stream_passes (project_id, digest, kind, path, max_role, user_id, mode, token_id, ends_at, expires_at)
select project_id, %(cookie)s, 'cookie', path, max_role, user_id, mode, token_id, ends_at,
    least(now() + %(seconds)s * interval '1 second', ends_at)
from ticket
returning user_id, mode, token_id, max_role, expires_at, project_role(project_id, user_id) as role,
    token_role(token_id, project_id) as token_role;

-- find_stream_cookie --
-- Whose browser comes back to a stream, as long as the API token holds by which they had got there.
select user_id, mode, token_id, max_role, expires_at, project_role(project_id, user_id) as role,
    token_role(token_id, project_id) as token_role
from stream_passes
where project_id = %(project_id)s and digest = %(digest)s and kind = 'cookie'
    and path = %(path)s and expires_at > now() and mode = any(%(modes)s)
    and (token_id is null or token_role(token_id, project_id) is not null);

-- delete_ended_stream_passes --
-- What nobody can use any more.
delete from stream_passes where expires_at < now();

-- recheck_access --
-- Whether those who have something open may still: their role in the project, and what their API token allows there.
select w.n, project_role(w.project_id, w.user_id) as role, token_role(w.token_id, w.project_id) as token_role
from unnest(%(project_ids)s::text[], %(user_ids)s::text[], %(token_ids)s::text[])
    with ordinality as w (project_id, user_id, token_id, n);

-- insert_audit_entries --
-- What was done or tried. Of a project that does not exist only its end is of interest.
insert into audit_entries (project_id, user_id, mode, token_id, method, path, outcome, status, code, address,
    request_id, repeats)
select e.* from unnest(%(project_id)s::text[], %(user_id)s::text[], %(mode)s::text[], %(token_id)s::text[],
    %(method)s::text[], %(path)s::text[], %(outcome)s::text[], %(status)s::integer[], %(code)s::text[],
    %(address)s::text[], %(request_id)s::text[], %(repeats)s::integer[]) as e (project_id, user_id, mode, token_id,
        method, path, outcome, status, code, address, request_id, repeats)
where e.project_id is null or e.outcome = 'done' or exists (select from projects p where p.id = e.project_id);

-- list_audit_entries --
-- What was done to a project since there is one of this id, newest first.
select e.* from audit_entries e join projects p on p.id = e.project_id
where e.project_id = %(project_id)s and e.at >= p.created_at and (%(before)s::bigint is null or e.id < %(before)s)
order by e.id desc
limit %(limit)s;

-- delete_old_audit_entries --
-- Entries are kept for so many days.
delete from audit_entries where ctid = any (array(
    select ctid from audit_entries where at < now() - %(days)s * interval '1 day' order by at limit %(limit)s));

-- lock_log_storage --
-- Before events are deleted: whoever packs or deletes those of the same log holds this first.
select project_id from log_storage where project_id = %(project_id)s and log = %(log)s for update;

-- lock_storage_of_logs --
-- The same of all of a project's logs, before it is deleted itself.
select log from log_storage where project_id = %(project_id)s order by log for update;

-- get_permission_policy --
-- What a project has decided beforehand about its agents' requests; not for a session that somebody has ended, in which
-- a container that could not be told may work on.
select p.permission_mode, p.permission_rules
from projects p join agent_sessions s on s.project_id = p.id and s.id = %(session_id)s
where p.id = %(id)s and s.status <> 'ended';

-- set_asks_permission --
-- Whether a project's container asks anybody, or allows by itself.
update projects set asks_permission = %(asks)s where id = %(id)s and asks_permission <> %(asks)s;

-- lock_logs --
-- Before a project is deleted: whoever appends holds the head first, and what hangs on the project after it.
select h.log from log_heads h join projects p on p.id = h.project_id
where p.id = %(id)s and project_role(p.id, %(user_id)s) = 'admin'
order by h.log
for update of h;

-- lock_sessions --
-- Before a project is deleted: whoever holds a session is let finish while the project is still free.
select id from agent_sessions where project_id = %(project_id)s order by id for update;

-- delete_project --
-- A project goes with all that hangs on it, but for what may be too much to go at once: that is noted.
with project as (
    delete from projects where id = %(id)s and project_role(id, %(user_id)s) = 'admin' returning id
)
insert into deleted_projects (project_id) select id from project;

-- find_deleted_project --
-- Whether something is left of a deleted project of this id.
select project_id from deleted_projects where project_id = %(project_id)s;

-- list_deleted_projects --
-- Deleted projects of which rows are left, oldest first.
select project_id from deleted_projects order by deleted_at limit 100;

-- lock_deleted_project --
-- One at a time deletes what is left of a project.
select project_id from deleted_projects where project_id = %(project_id)s for update;

-- delete_some_events --
-- Some events of a deleted project.
delete from events where project_id = %(project_id)s
    and (log, seq) in (select log, seq from events where project_id = %(project_id)s order by log, seq limit %(limit)s);

-- delete_some_packs --
-- Some packs of a deleted project.
delete from event_packs where project_id = %(project_id)s
    and (log, last_seq) in (select log, last_seq from event_packs where project_id = %(project_id)s
                            order by log, last_seq limit %(limit)s);

-- delete_some_messages --
-- Some messages of a deleted project.
delete from agent_session_messages where project_id = %(project_id)s
    and (session_id, first_seq) in (select session_id, first_seq from agent_session_messages
                                    where project_id = %(project_id)s
                                    order by session_id, first_seq limit %(limit)s);

-- forget_deleted_project --
-- Nothing is left of it.
delete from deleted_projects where project_id = %(project_id)s;

-- upsert_agents --
-- What a container says of its agents.
insert into project_agents as a
    (project_id, agent_id, name, description, requires_auth, authenticated, status, error, warning, credentials)
select distinct on (id) %(project_id)s, id, name, description, requires_auth, authenticated, status, error, warning,
    array_remove(string_to_array(credentials, ' '), '')
from unnest(%(ids)s::text[], %(names)s::text[], %(descriptions)s::text[], %(require_auth)s::boolean[],
    %(authenticated)s::boolean[], %(statuses)s::text[], %(errors)s::text[], %(warnings)s::text[],
    %(credentials)s::text[])
    as said (id, name, description, requires_auth, authenticated, status, error, warning, credentials)
on conflict (project_id, agent_id) do update set
    name = excluded.name, description = excluded.description, requires_auth = excluded.requires_auth,
    authenticated = excluded.authenticated, status = excluded.status, error = excluded.error,
    warning = excluded.warning, credentials = excluded.credentials, updated_at = now();

-- forget_agents --
-- Agents that the container no longer has.
delete from project_agents where project_id = %(project_id)s and agent_id <> all(%(agent_ids)s::text[]);

-- set_agent_status --
-- An agent's status as its container's event tells it.
update project_agents set status = %(status)s, error = %(error)s, updated_at = now()
where project_id = %(project_id)s and agent_id = %(agent_id)s;

-- list_agents --
-- What a container last said of its agents.
select * from project_agents where project_id = %(project_id)s order by agent_id;

-- insert_session --
-- A session exists from before its container is asked, so that events of it find their session. One of this id may
-- have been left in creation by a gateway that died. Its history begins here: gaps from before are not about it.
insert into agent_sessions
    (project_id, id, user_id, agent_id, working_directory, title, has_mcp_servers, credential_user_id, status, folded_to)
select %(project_id)s, %(id)s, %(user_id)s, %(agent_id)s, %(working_directory)s, %(title)s, %(has_mcp_servers)s,
    %(credential_user_id)s, 'creating', head
from log_heads where project_id = %(project_id)s and log = 'acp'
on conflict (project_id, id) do nothing;

-- activate_new_session --
-- The container has made the session that was asked for; the first one that it made for this session stays.
update agent_sessions set status = 'active', container_session_id = %(container_session_id)s,
    acp_session_id = %(acp_session_id)s, container_boot_id = %(container_boot_id)s, agent_mode = %(agent_mode)s,
    agent_decides = %(agent_decides)s, updated_at = now()
where project_id = %(project_id)s and id = %(id)s
    and (status = 'creating' or (status = 'active' and container_session_id = %(container_session_id)s));

-- activate_session --
-- The container has the session.
update agent_sessions set status = 'active', container_session_id = %(container_session_id)s,
    acp_session_id = %(acp_session_id)s, container_boot_id = %(container_boot_id)s, agent_mode = %(agent_mode)s,
    agent_decides = %(agent_decides)s, updated_at = now()
where project_id = %(project_id)s and id = %(id)s and status <> 'ended';

-- set_acp_session --
-- The agent's own id for a session, as its container tells it.
update agent_sessions set acp_session_id = %(acp_session_id)s
where project_id = %(project_id)s and container_session_id = %(container_session_id)s
    and acp_session_id is distinct from %(acp_session_id)s;

-- set_agent_mode --
-- The mode that a session's agent works in, and whether it decides there by itself.
update agent_sessions set agent_mode = %(agent_mode)s, agent_decides = %(agent_decides)s
where project_id = %(project_id)s and container_session_id = %(container_session_id)s;

-- set_agent_title --
-- A title that a session's agent gives it, or takes back; unless somebody has given it another.
update agent_sessions set title = %(title)s, agent_title = %(title)s
where project_id = %(project_id)s and id = %(session_id)s and (title is null or title = agent_title);

-- bound_sessions --
-- The living sessions of a project that its container is to have, with their running turn.
select s.id, s.agent_id, s.container_session_id, t.id as turn_id
from agent_sessions s
left join turns t on t.project_id = s.project_id and t.session_id = s.id and t.state = 'running'
where s.project_id = %(project_id)s and s.status = 'active' and s.container_session_id is not null;

-- is_at_work --
-- Whether the project's container has had anything to say since a time: a turn, or a session being created or revived.
select 1
where exists (
        select from turns
        where project_id = %(project_id)s and (state = 'running' or ended_at >= %(since)s)
    )
    or exists (
        select from agent_sessions
        where project_id = %(project_id)s and status <> 'ended'
          and (status = 'creating' or taken_up_by is not null or updated_at >= %(since)s)
    );

-- unbind_session --
-- The container has lost the session. Whoever takes it from what is known of it makes the new one; one that is without
-- and whose gateway is dead, or has left it so for five minutes, is anybody's. What this gateway has left so, because
-- the database went away under it, it takes again: it knows what it is working on.
update agent_sessions s
set container_session_id = null, taken_up_by = %(gateway_id)s, updated_at = now()
where project_id = %(project_id)s and id = %(id)s and status = 'active'
    and (container_session_id = %(known)s
        or (container_session_id is null
            and (s.taken_up_by = %(gateway_id)s or updated_at < now() - interval '5 minutes'
                or not gateway_lives(s.taken_up_by))))
returning id;

-- rebind_session --
-- No new one could be made; the next prompt tries again.
update agent_sessions set container_session_id = %(known)s, taken_up_by = null, updated_at = now()
where project_id = %(project_id)s and id = %(id)s and container_session_id is null and taken_up_by = %(gateway_id)s;

-- discard_session --
-- A session that the container did not take leaves no trace.
delete from agent_sessions where project_id = %(project_id)s and id = %(id)s and status = 'creating';

-- discard_stale_sessions --
-- What a gateway that died left in creation.
delete from agent_sessions where status = 'creating' and created_at <= now() - interval '5 minutes';

-- get_session --
-- A session with its running turn, its last activity and the log's head; one that is still being created does not exist
-- yet.
select s.*, t.id as turn_id, t.started_at as turn_started_at, h.epoch, h.head, a.place, a.at as active_at,
    array(select q.id from turns q where q.project_id = s.project_id and q.session_id = s.id and q.state = 'queued'
          order by q.before_seq) as queue,
    case when not p.asks_permission then 'container' when s.agent_decides then 'agent' else p.permission_mode
    end as permissions
from agent_sessions s
join session_activity a on a.project_id = s.project_id and a.session_id = s.id
join log_heads h on h.project_id = s.project_id and h.log = 'acp'
join projects p on p.id = s.project_id
left join turns t on t.project_id = s.project_id and t.session_id = s.id and t.state = 'running'
where s.project_id = %(project_id)s and s.id = %(id)s and s.status <> 'creating';

-- list_sessions --
-- A project's sessions, the last active first, after a place. Those that live are looked for among the living: they may be
-- few beside thousands that have ended.
select s.*, t.id as turn_id, t.started_at as turn_started_at, h.epoch, h.head, a.place, a.at as active_at,
    array(select q.id from turns q where q.project_id = s.project_id and q.session_id = s.id and q.state = 'queued'
          order by q.before_seq) as queue,
    case when not p.asks_permission then 'container' when s.agent_decides then 'agent' else p.permission_mode
    end as permissions
from (
    (select * from session_activity
     where %(include_ended)s and project_id = %(project_id)s and (%(after)s::bigint is null or place < %(after)s)
     order by place desc limit %(limit)s)
    union all
    select active.* from agent_sessions l
    cross join lateral (select * from session_activity
                        where project_id = l.project_id and session_id = l.id limit 1) active
    where not %(include_ended)s and l.project_id = %(project_id)s and l.status = 'active'
        and (%(after)s::bigint is null or place < %(after)s)
) a
join agent_sessions s on s.project_id = %(project_id)s and s.id = a.session_id
join log_heads h on h.project_id = %(project_id)s and h.log = 'acp'
join projects p on p.id = %(project_id)s
left join turns t on t.project_id = s.project_id and t.session_id = s.id and t.state = 'running'
where s.status <> 'creating'
order by a.place desc
limit %(limit)s;

-- set_session_title --
-- A session's title, as its people call it; unless somebody has just changed it.
update agent_sessions set title = %(title)s, agent_title = null
where project_id = %(project_id)s and id = %(id)s and status <> 'creating'
    and title is not distinct from %(former_title)s;

-- end_session --
-- A session that takes no more prompts, and has no turn left.
update agent_sessions s set status = 'ended', ended_at = now(), updated_at = now()
where s.project_id = %(project_id)s and s.id = %(id)s and s.status <> 'ended'
    and not exists (select from turns t
        where t.project_id = s.project_id and t.session_id = s.id and t.state in ('queued', 'running'));

-- find_container_session --
-- Whose session a container's session is: `id` of ours; `is_foreign` if it is another project's in the same boot. Else it
-- may be one of those `in_creation`: new or taken up again, and the container has not answered yet. After five minutes
-- nobody waits for that any more.
select (select id from agent_sessions
        where project_id = %(project_id)s and container_session_id = %(container_session_id)s) as id,
    exists (select from agent_sessions
        where container_boot_id = %(boot_id)s and container_session_id = %(container_session_id)s
            and project_id <> %(project_id)s) as is_foreign,
    array(select id from agent_sessions
        where project_id = %(project_id)s and status <> 'ended' and container_session_id is null
            and updated_at > now() - interval '5 minutes') as in_creation;

-- lost_container_sessions --
-- Which of a container's sessions stand for none of this project's, although they were made for these. A session that is
-- just being made or taken up has none yet.
select n.id from unnest(%(ids)s::text[], %(session_ids)s::text[]) as n (id, session_id)
where not exists (select from agent_sessions s
    where s.project_id = %(project_id)s and (s.container_session_id = n.id
        or (s.id = n.session_id and s.status <> 'ended' and s.container_session_id is null)));

-- own_container_sessions --
-- Which of a container's sessions are of this project.
select container_session_id from agent_sessions
where project_id = %(project_id)s and container_session_id = any(%(ids)s::text[]);

-- who_pays_for_container_session --
-- Whose credential a container's session has, and the process that it would be answered by in the base contract. It is
-- named by the container's id or by ours; the former counts first.
select s.container_session_id, s.credential_user_id, p.user_id as process_user_id
from agent_sessions s left join agent_processes p on p.project_id = s.project_id and p.agent_id = s.agent_id
where s.project_id = %(project_id)s
    and (s.container_session_id = %(name)s or (s.id = %(name)s and s.container_session_id is not null))
order by s.container_session_id = %(name)s desc limit 1;

-- insert_turn --
-- A turn begins with the newest event, in a session that lives and is the container's session that will be prompted; a
-- second one in the same session violates turns_one_running.
insert into turns
    (project_id, id, session_id, user_id, state, container_boot_id, container_session_id, gateway_id, before_seq)
select s.project_id, %(id)s, s.id, %(user_id)s, 'running', %(container_boot_id)s, s.container_session_id,
    %(gateway_id)s, h.head - 1
from agent_sessions s join log_heads h on h.project_id = s.project_id and h.log = 'acp'
where s.project_id = %(project_id)s and s.id = %(session_id)s and s.status = 'active'
    and s.container_session_id = %(container_session_id)s
    and not exists (select from turns q
        where q.project_id = s.project_id and q.session_id = s.id and q.state = 'queued');

-- insert_lost_turn --
-- A turn that the database lost in a failover and its container tells of begins with the newest event. Whoever began it
-- is not known any more: it is the session's user's.
insert into turns
    (project_id, id, session_id, user_id, state, container_turn_id, container_boot_id, container_session_id, sent_at,
    delivered_at, before_seq)
select s.project_id, %(id)s, s.id, s.user_id, 'running', %(id)s, %(container_boot_id)s, s.container_session_id, now(),
    now(), h.head - 1
from agent_sessions s join log_heads h on h.project_id = s.project_id and h.log = 'acp'
where s.project_id = %(project_id)s and s.id = %(session_id)s
on conflict do nothing;

-- insert_queued_turn --
-- A prompt waits, in a session that lives and where not too many wait; with the newest event.
insert into turns (project_id, id, session_id, user_id, state, started_at, queued_at, prompt, before_seq)
select s.project_id, %(id)s, s.id, %(user_id)s, 'queued', null, now(), %(prompt)s, h.head - 1
from agent_sessions s join log_heads h on h.project_id = s.project_id and h.log = 'acp'
where s.project_id = %(project_id)s and s.id = %(session_id)s and s.status = 'active'
    and (select count(*) from turns q
        where q.project_id = s.project_id and q.session_id = s.id and q.state = 'queued') < %(most)s;

-- start_queued_turn --
-- A turn that has waited begins with the newest event, as one that was just asked for does. The prompt is in the log. Of
-- many that have waited for a place, no more begin than there are: a project's appends come one after the other.
update turns t set state = 'running', started_at = now(), prompt = null, container_boot_id = %(container_boot_id)s,
    container_session_id = s.container_session_id, gateway_id = %(gateway_id)s, before_seq = h.head - 1,
    user_id = %(user_id)s
from agent_sessions s join log_heads h on h.project_id = s.project_id and h.log = 'acp'
where t.project_id = %(project_id)s and t.id = %(id)s and t.state = 'queued' and t.session_id = %(session_id)s
    and s.project_id = t.project_id and s.id = t.session_id and s.status = 'active'
    and s.container_session_id = %(container_session_id)s
    and (%(turns_per_project)s = 0 or %(turns_per_project)s >
        (select count(*) from turns r where r.project_id = %(project_id)s and r.state = 'running'))
    and (%(turns_per_user)s = 0 or %(turns_per_user)s >
        (select count(*) from turns r where r.user_id = %(user_id)s and r.state = 'running'));

-- end_queued_turn --
-- A turn ends that has never begun.
update turns set state = %(outcome)s, stop_reason = %(stop_reason)s, failure = %(failure)s, message = %(message)s,
    prompt = null, ended_at = now()
where project_id = %(project_id)s and id = %(id)s and state = 'queued';

-- queued_turns --
-- What waits in a session, the next one first.
select id from turns where project_id = %(project_id)s and session_id = %(session_id)s and state = 'queued'
order by before_seq;

-- next_queued_turn --
-- What a session that runs nothing begins next.
select q.*, h.epoch from turns q
join log_heads h on h.project_id = q.project_id and h.log = 'acp'
join agent_sessions s on s.project_id = q.project_id and s.id = q.session_id and s.status = 'active'
where q.project_id = %(project_id)s and q.session_id = %(session_id)s and q.state = 'queued'
    and not exists (select from turns r
        where r.project_id = q.project_id and r.session_id = q.session_id and r.state = 'running')
order by q.before_seq limit 1;

-- turns_to_begin --
-- The next queued turn of each session that runs nothing, without its prompt, the longest wait first: where places are
-- scarce, no session is always the last. With the facts that its next step depends on.
select q.id, q.project_id, q.session_id, q.user_id, q.state, q.before_seq, null as prompt, q.gateway_id,
    q.container_boot_id, q.container_session_id, q.queued_at, q.started_at, q.sent_at, q.delivered_at,
    q.unanswered_since, q.said_at, q.said_seq, q.cancel_requested_at, q.cancel_sent_at, q.agent_stopped_at, q.ended_at,
    q.stop_reason, q.failure, q.message, h.epoch, clock_timestamp() as now, s.agent_id,
    s.container_session_id as session_in_container, s.status = 'ended' as session_ended, true as leads,
    false as may_deliver, false as connected, false as warned
from turns q
join log_heads h on h.project_id = q.project_id and h.log = 'acp'
join agent_sessions s on s.project_id = q.project_id and s.id = q.session_id
where q.state = 'queued' and q.project_id = any(%(project_ids)s)
    and not exists (select from turns o
        where o.project_id = q.project_id and o.session_id = q.session_id
            and (o.state = 'running' or (o.state = 'queued' and o.before_seq < q.before_seq)))
order by q.queued_at;

-- open_turns --
-- A session's turns that have not ended.
select t.*, h.epoch from turns t join log_heads h on h.project_id = t.project_id and h.log = 'acp'
where t.project_id = %(project_id)s and t.session_id = %(session_id)s and t.state in ('queued', 'running');

-- move_turn --
-- The container does not know the session that a turn's prompt was sent to, so it has not taken it: another one of the
-- same session is sent it. Not where the turn has ended meanwhile.
update turns set container_session_id = %(container_session_id)s, container_boot_id = %(container_boot_id)s,
    sent_at = null
where project_id = %(project_id)s and id = %(id)s and gateway_id = %(gateway_id)s and state = 'running'
    and delivered_at is null
returning id;

-- mark_sent --
-- A prompt is about to be sent by the gateway that the turn names: not one that was cancelled before, nor one that
-- another gateway has taken over, or that the container has taken.
update turns set sent_at = coalesce(sent_at, clock_timestamp())
where project_id = %(project_id)s and id = %(id)s and gateway_id = %(gateway_id)s and state = 'running'
    and delivered_at is null and (cancel_requested_at is null or sent_at is not null)
returning id;

-- end_turn --
-- A turn ends once.
update turns set state = %(outcome)s, stop_reason = %(stop_reason)s, failure = %(failure)s, message = %(message)s,
    ended_at = now()
where project_id = %(project_id)s and id = %(id)s and state = 'running';

-- get_turn --
-- A turn, with its log's epoch.
select t.*, h.epoch from turns t join log_heads h on h.project_id = t.project_id and h.log = 'acp'
where t.project_id = %(project_id)s and t.id = %(id)s;

-- find_turn --
-- Which turn a container's end of turn is about: the one it names, by our id or its own; else the running one, where its
-- name for that may not be known (`unnamed`).
select found.*, h.epoch from (
    select 1 as choice, t.* from turns t
    where project_id = %(project_id)s and session_id = %(session_id)s and id = %(container_turn_id)s
    union all
    select 2, t.* from turns t
    where project_id = %(project_id)s and session_id = %(session_id)s and container_turn_id = %(container_turn_id)s
    union all
    select 3, t.* from turns t
    where %(unnamed)s and project_id = %(project_id)s and session_id = %(session_id)s and state = 'running'
) found
join log_heads h on h.project_id = found.project_id and h.log = 'acp'
order by choice
limit 1;

-- newest_turn --
-- Where the newest turn of a session that has begun stands in its project's log; before all where there was none yet.
select h.epoch, coalesce((
    select t.before_seq from turns t
    where t.project_id = h.project_id and t.session_id = %(session_id)s and t.started_at is not null
    order by t.started_at desc limit 1), 0) as before_seq
from log_heads h where h.project_id = %(project_id)s and h.log = 'acp';

-- running_turns --
-- All turns of a project that run.
select t.*, h.epoch from turns t join log_heads h on h.project_id = t.project_id and h.log = 'acp'
where t.project_id = %(project_id)s and t.state = 'running';

-- set_delivered --
-- The container has taken a turn's prompt, maybe under a name of its own, and tells its end by an event.
update turns set delivered_at = now(), container_turn_id = %(container_turn_id)s
where project_id = %(project_id)s and id = %(id)s;

-- set_unanswered --
-- Nobody hears any more what the container answers to the prompt.
update turns set unanswered_since = coalesce(unanswered_since, clock_timestamp())
where project_id = %(project_id)s and id = %(id)s and state = 'running';

-- claim_turn --
-- A gateway takes over the delivery of a dead gateway's turn; one that it holds already stays its own.
update turns t set gateway_id = %(gateway_id)s
from log_heads h
where h.project_id = t.project_id and h.log = 'acp' and t.project_id = %(project_id)s and t.id = %(id)s
    and t.state = 'running'
    and t.delivered_at is null and t.unanswered_since is null
    and (t.gateway_id = %(gateway_id)s or not gateway_lives(t.gateway_id))
returning t.*, h.epoch;

-- reclaim_turns --
-- This gateway hears the answers to these prompts after all, although it was taken for dead.
update turns set gateway_id = %(gateway_id)s, unanswered_since = null
where id = any(%(ids)s) and state = 'running' and (gateway_id <> %(gateway_id)s or unanswered_since is not null);

-- turns_to_drive --
-- The running turns of the projects whose lease a gateway holds, and its own, with the facts that their next step depends
-- on. `may_deliver`: the turn names this gateway, or a dead one. What the gateway itself says of a silent turn does not
-- break its silence. A person is waited for only until they have answered: an answer on its way to a container that is
-- gone never arrives, and the turn must end all the same.
select t.*, (select h.epoch from log_heads h where h.project_id = t.project_id and h.log = 'acp') as epoch,
    clock_timestamp() as now, s.agent_id, s.container_session_id as session_in_container, s.status = 'ended' as session_ended,
    t.project_id = any(%(project_ids)s) as leads,
    t.gateway_id = %(gateway_id)s or not gateway_lives(t.gateway_id) as may_deliver,
    coalesce(l.connected and l.expires_at > clock_timestamp(), false) as connected,
    exists (select from permissions p where p.project_id = t.project_id and p.session_id = t.session_id
        and p.state = 'waiting') as waits_for_people,
    newest.seq as newest_seq,
    exists (select from events e where e.project_id = t.project_id and e.log = 'acp'
        and e.event_key = 'turn_stalling:' || t.id || ':' || coalesce(t.said_seq, 0)) as warned
from turns t
join agent_sessions s on s.project_id = t.project_id and s.id = t.session_id
left join follower_leases l on l.project_id = t.project_id
left join lateral (
    select e.seq from events e
    where e.project_id = t.project_id and e.log = 'acp' and e.session_id = t.session_id
        and e.type not in ('turn_stalling', 'turn_cancelling', 'agent_stopping', 'turn_queued')
    order by e.seq desc limit 1
) newest on true
where t.state = 'running' and (t.project_id = any(%(project_ids)s) or t.gateway_id = %(gateway_id)s);

-- note_newest --
-- Sessions of running turns said something new, or wait for a person.
update turns t set said_seq = n.seq, said_at = clock_timestamp()
from unnest(%(project_ids)s::text[], %(ids)s::text[], %(seqs)s::bigint[]) n (project_id, id, seq)
where t.project_id = n.project_id and t.id = n.id and t.state = 'running';

-- prompts_sent --
-- The turns whose prompt a container's session may have been given, in that order.
select id, session_id, container_session_id, before_seq from turns
where project_id = %(project_id)s and container_session_id = %(container_session_id)s and sent_at is not null
order by started_at, id;

-- turns_with_gaps --
-- This turn of OpenCode's, or each session's newest that ended within the hour, if something may be missing in it that
-- nobody has tried to fill yet: there is a gap after its beginning.
select distinct on (t.session_id) t.* from turns t
join agent_sessions s on s.project_id = t.project_id and s.id = t.session_id and s.status = 'active'
where t.project_id = %(project_id)s and s.agent_id = 'opencode' and s.acp_session_id is not null
    and t.ended_at > now() - interval '1 hour' and (%(turn_id)s::text is null or t.id = %(turn_id)s)
    and exists (
        select from events e
        where e.project_id = t.project_id and e.log = 'acp' and e.type = 'gap' and e.seq > t.before_seq)
    and not exists (
        select from events e
        where e.project_id = t.project_id and e.log = 'acp' and e.event_key = 'reconciled:' || t.id)
order by t.session_id, t.started_at desc;

-- request_cancel --
-- Somebody wants a running turn to stop.
update turns set cancel_requested_at = clock_timestamp()
where project_id = %(project_id)s and id = %(id)s and state = 'running' and cancel_requested_at is null;

-- set_cancel_sent --
-- The container is being asked to stop a turn; or, as it turned out, could not be asked.
update turns set cancel_sent_at = case when %(sent)s then coalesce(cancel_sent_at, clock_timestamp()) end
where project_id = %(project_id)s and id = %(id)s and state = 'running';

-- set_agent_stopped --
-- The agent of a turn that does not end is stopped.
update turns set agent_stopped_at = clock_timestamp()
where project_id = %(project_id)s and id = %(id)s and state = 'running';

-- turns_of_agent --
-- What else an agent runs in a project.
select t.id from turns t join agent_sessions s on s.project_id = t.project_id and s.id = t.session_id
where t.project_id = %(project_id)s and s.agent_id = %(agent_id)s and t.state = 'running' and t.id <> %(id)s
order by t.id;

-- container_sessions_of_agent --
-- Under which ids a container knows an agent's sessions.
select container_session_id from agent_sessions
where project_id = %(project_id)s and agent_id = %(agent_id)s and status = 'active' and container_session_id is not null;

-- agree_to_address --
-- A user has their credential used at this address of a project's container.
insert into credential_addresses as a (project_id, agent_id, user_id, address)
values (%(project_id)s, %(agent_id)s, %(user_id)s, %(address)s)
on conflict (project_id, agent_id, user_id) do update set address = excluded.address, agreed_at = now()
where a.address <> excluded.address;

-- agreed_address --
-- Where a user has had their credential used last.
select address from credential_addresses
where project_id = %(project_id)s and agent_id = %(agent_id)s and user_id = %(user_id)s;

-- give_credential --
-- Write down, before a container is given a credential, that it will be: whoever follows the container must know the
-- secret first. The row's owner stays. ``follower`` is the gateway that must, where it is another one.
-- No row where the credential has been taken back or replaced, or the project moved, since they were read, nor where the
-- user has not had it used at this address.
insert into given_credentials as g (project_id, agent_id, user_id, owner, version, known_to)
select %(project_id)s, %(agent_id)s, t.user_id, %(owner)s, t.version, %(gateway_id)s
from agent_auth_tokens t, projects p
where t.user_id = %(user_id)s and t.agent_id = %(agent_id)s and t.version = %(version)s
    and p.id = %(project_id)s and p.container_url = %(container_url)s and p.acp_url is not distinct from %(acp_url)s
    and exists (select from credential_addresses a
        where a.project_id = p.id and a.agent_id = t.agent_id and a.user_id = t.user_id
            and a.address = coalesce(p.acp_url, p.container_url))
for share of t, p
on conflict (project_id, agent_id, user_id) do update set
    version = excluded.version, known_to = excluded.known_to, given_at = clock_timestamp(),
    taken = g.taken and g.version = excluded.version
returning g.owner, g.taken, g.container_boot_id,
    (select l.holder from follower_leases l
     where l.project_id = %(project_id)s and l.holder <> %(gateway_id)s and l.expires_at > clock_timestamp())
    as follower;

-- is_credential_known --
-- Whether whoever follows the container masks this version's secrets.
select g.known_to is not distinct from l.holder as known
from given_credentials g
left join follower_leases l on l.project_id = g.project_id and l.expires_at > clock_timestamp()
where g.project_id = %(project_id)s and g.agent_id = %(agent_id)s and g.user_id = %(user_id)s;

-- set_credential_known --
-- This gateway follows the container, and knows the secrets now.
update given_credentials g set known_to = l.holder
from follower_leases l
where l.project_id = g.project_id and l.holder = %(gateway_id)s and l.expires_at > clock_timestamp()
    and g.known_to is distinct from l.holder
    and (g.project_id, g.agent_id, g.user_id, g.version) in (
        select * from unnest(
            %(project_ids)s::text[], %(agent_ids)s::text[], %(user_ids)s::text[], %(versions)s::bigint[]));

-- credential_taken --
-- The container has this version. `is_here`: and the project is still there. `may_stay`: and whoever it is of may have
-- agents work in it, and has not taken it back. No row where the project is no more.
with here as (
    select from projects where id = %(project_id)s and container_url = %(container_url)s
        and acp_url is not distinct from %(acp_url)s
), taken as (
    update given_credentials set taken = true, container_boot_id = %(container_boot_id)s
    where project_id = %(project_id)s and agent_id = %(agent_id)s and user_id = %(user_id)s
        and version = %(version)s and exists (select from here)
)
select exists (select from here) as is_here,
    coalesce(project_role(%(project_id)s, %(user_id)s) in ('operator', 'admin'), false) and exists (
        select from agent_auth_tokens where user_id = %(user_id)s and agent_id = %(agent_id)s) as may_stay
from given_credentials
where project_id = %(project_id)s and agent_id = %(agent_id)s and user_id = %(user_id)s;

-- withdraw_credentials --
-- Containers are to give back what they were given: of a project, a user and an agent, each where it is named.
select withdraw_credentials(%(project_id)s, %(user_id)s, %(agent_id)s, %(has_moved)s);

-- leave_container --
-- A project leaves its container: the next one has no process and none of the credentials.
with processes as (
    delete from agent_processes where project_id = %(project_id)s
)
update given_credentials set taken = false, container_boot_id = null where project_id = %(project_id)s;

-- insert_withdrawal --
-- A container was given a credential too late, and is to give it back. `owner` is null if it has a process alone.
insert into withdrawals (project_id, container_url, acp_url, sealed_container_token, has_moved, agent_ids, owners,
    process_agent_ids, process_claims)
values (%(project_id)s, %(container_url)s, %(acp_url)s, %(sealed_container_token)s, %(has_moved)s,
    array[%(agent_id)s::text], array[%(owner)s::text], array[%(agent_id)s::text],
    array(select claim from agent_processes
        where project_id = %(project_id)s and agent_id = %(agent_id)s and user_id = %(user_id)s));

-- claim_withdrawals --
-- What containers are to give back now, for one gateway; after `seconds` it is another's turn. Not what the container
-- was given again since, nor a process that was started again: those stay.
update withdrawals w set attempts = attempts + 1, next_at = clock_timestamp() + make_interval(secs => %(seconds)s)
where (project_id, id) in (
    select project_id, id from withdrawals where next_at <= clock_timestamp()
    order by next_at limit %(limit)s for update skip locked)
returning w.id, project_id, container_url, acp_url, sealed_container_token, has_moved, attempts, (
        select coalesce(jsonb_agg(jsonb_build_array(c.agent_id, c.owner)), '[]')
        from unnest(w.agent_ids, w.owners) as c (agent_id, owner)
        where w.has_moved or not exists (
            select from given_credentials g
            where g.project_id = w.project_id and g.owner = c.owner and g.given_at > w.created_at)
    ) as credentials, array(
        select c.agent_id from unnest(w.process_agent_ids, w.process_claims) as c (agent_id, claim)
        where w.has_moved or not exists (
            select from agent_processes p
            where p.project_id = w.project_id and p.agent_id = c.agent_id and p.claim <> c.claim)
    ) as processes;

-- postpone_withdrawal --
-- The container could not be reached.
update withdrawals set next_at = clock_timestamp() + make_interval(secs => %(wait)s)
where project_id = %(project_id)s and id = %(id)s;

-- delete_withdrawal --
-- The container has given it back, or never will.
delete from withdrawals where project_id = %(project_id)s and id = %(id)s;

-- given_secrets --
-- What projects' containers were given and may run with still, sealed.
select project_id, agent_id, user_id, version, sealed_access_token from given_secrets
where project_id = any(%(project_ids)s::text[]);

-- secrets_given_lately --
-- What containers were given in the last seconds.
select project_id, agent_id, user_id, version, s.sealed_access_token
from given_credentials g join given_secrets s using (project_id, agent_id, user_id, version)
where g.given_at > now() - interval '10 seconds' and project_id = any(%(project_ids)s::text[]);

-- forget_former_secrets --
-- Deletes the secrets that took their leave some time ago, and that nothing runs with any more: no agent's process in a
-- container of the base contract, and, for the newest of them, no session that is older than that.
delete from given_secrets s
where s.replaced_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    and not exists (
        select from agent_processes p
        join project_agents a on a.project_id = p.project_id and a.agent_id = p.agent_id and a.status <> 'stopped'
        where (p.project_id, p.agent_id, p.user_id, p.version) = (s.project_id, s.agent_id, s.user_id, s.version))
    and (
        not exists (
            select from agent_sessions e
            where e.project_id = s.project_id and e.agent_id = s.agent_id and e.credential_user_id = s.user_id
                and e.status = 'active' and e.created_at < s.replaced_at)
        or %(most)s <= (
            select count(*) from given_secrets n
            where n.project_id = s.project_id and n.agent_id = s.agent_id and n.user_id = s.user_id
                and n.version > s.version));

-- projects_using_credential --
-- Where a session lives that uses a user's credential for an agent, in a container that was given it.
select g.project_id from given_credentials g
where g.user_id = %(user_id)s and g.agent_id = %(agent_id)s
    and exists (select from agent_sessions s where s.project_id = g.project_id and s.agent_id = g.agent_id
        and s.credential_user_id = g.user_id and s.status = 'active');

-- may_use_agents --
-- Whether somebody may have agents work in a project, and so be billed for it.
select project_role(%(project_id)s, %(user_id)s) in ('operator', 'admin') as may;

-- user_of_owner --
-- Whom a container means by an owner of a process.
select user_id from given_credentials where project_id = %(project_id)s and owner = %(owner)s;

-- get_agent_process --
-- Whose credential an agent's process in a container of the base contract has.
select p.*, gateway_lives(p.starting_by) as is_starting
from agent_processes p where p.project_id = %(project_id)s and p.agent_id = %(agent_id)s;

-- claim_agent_process --
-- Whoever knows the newest claim may have the process started; while a gateway that lives does so, nobody else may.
insert into agent_processes as p (project_id, agent_id, user_id, version, starting_by)
values (%(project_id)s, %(agent_id)s, %(user_id)s, %(version)s, %(gateway_id)s)
on conflict (project_id, agent_id) do update set
    user_id = excluded.user_id, version = excluded.version, starting_by = excluded.starting_by,
    claim = excluded.claim
where p.claim = %(seen)s and not gateway_lives(p.starting_by)
returning claim;

-- agent_process_started --
-- The container has started it.
update agent_processes set starting_by = null, version = %(version)s
where project_id = %(project_id)s and agent_id = %(agent_id)s and claim = %(claim)s;

-- discard_agent_process --
-- The container has not.
delete from agent_processes where project_id = %(project_id)s and agent_id = %(agent_id)s and claim = %(claim)s;

-- agent_has_turn --
-- Whether a turn of an agent runs in a project.
select exists (
    select from turns t join agent_sessions s on s.project_id = t.project_id and s.id = t.session_id
    where t.project_id = %(project_id)s and s.agent_id = %(agent_id)s and t.state = 'running') as has_turn;

-- release_request_key --
-- A container may give the id of a settled request to another one.
update permissions set request_key = id
where project_id = %(project_id)s and request_key = %(request_key)s and state in ('selected', 'cancelled');

-- insert_permission --
-- A permission request waits until somebody answers.
insert into permissions
    (project_id, id, container_request_id, container_boot_id, request_key, session_id, turn_id, agent_id, tool_call,
     kinds, options, state, option_id, resolved_by, resolved_at, rule, answered_at, expires_at)
values (%(project_id)s, %(id)s, %(container_request_id)s, %(container_boot_id)s, %(request_key)s, %(session_id)s,
    (select id from turns where project_id = %(project_id)s and session_id = %(session_id)s and state = 'running'),
    %(agent_id)s, %(tool_call)s, %(kinds)s::text[], %(options)s, %(state)s, %(option_id)s, %(resolved_by)s,
    case when %(state)s = 'selected' then now() end, %(rule)s::bytea,
    case when %(state)s = 'answering' then now() end,
    case when %(state)s = 'waiting' then now() + make_interval(secs => coalesce(
        (select permission_timeout from projects where id = %(project_id)s), %(timeout)s)) end)
on conflict (project_id, request_key) do nothing;

-- get_permission --
-- A permission request with where its container knows it.
select p.*, s.container_session_id
from permissions p
join agent_sessions s on s.project_id = p.project_id and s.id = p.session_id
where p.project_id = %(project_id)s and p.id = %(id)s;

-- find_permission --
-- Which permission request a container's own request is, and whether it is one of the turn that runs.
select p.*, p.turn_id is not distinct from
    (select t.id from turns t where t.project_id = p.project_id and t.session_id = p.session_id
        and t.state = 'running') as is_of_this_turn
from permissions p where p.project_id = %(project_id)s and p.request_key = %(request_key)s;

-- freeze --
-- What the rest of the transaction reads was all true at one moment.
set transaction isolation level repeatable read, read only;

-- list_session_permissions --
-- What waits for an answer in a session, oldest first: at most 200, and 2 MiB beside the last.
select * from (
    select p.*, sum(octet_length(tool_call) + octet_length(options)) over (order by requested_at, id)
        - octet_length(tool_call) - octet_length(options) as bytes_before
    from permissions p
    where project_id = %(project_id)s and session_id = %(session_id)s and state = 'waiting'
    order by requested_at, id limit 200
) counted
where bytes_before < 2097152
order by requested_at, id;

-- list_permissions --
-- What waits for an answer, oldest first, after a given one: up to a number of bytes, and the one that exceeds it.
select * from (
    select p.*, row_number() over (order by requested_at, id) as place,
        sum(octet_length(tool_call) + octet_length(options)) over (order by requested_at, id)
        - octet_length(tool_call) - octet_length(options) as bytes_before
    from permissions p
    where project_id = %(project_id)s and state = 'waiting'
        and (%(after)s::text is null or (requested_at, id) > (
            select a.requested_at, a.id from permissions a where a.project_id = %(project_id)s and a.id = %(after)s))
    order by requested_at, id limit %(limit)s
) counted
where bytes_before < %(bytes)s or place = 2
order by requested_at, id;

-- claim_permission --
-- Whoever claims a waiting request answers it.
update permissions set state = 'answering', option_id = %(option_id)s, resolved_by = %(resolved_by)s,
    answer_id = %(answer_id)s, answered_at = now()
where project_id = %(project_id)s and id = %(id)s and state = 'waiting'
returning id;

-- expired_permissions --
-- What nobody has answered in time.
select project_id, id, options from permissions
where project_id = any(%(project_ids)s) and state = 'waiting' and expires_at <= clock_timestamp()
order by expires_at limit 100;

-- answers_to_bring --
-- What has an answer that its container may not have, and that nobody is bringing there.
select project_id, id from permissions
where project_id = any(%(project_ids)s) and state = 'answering'
    and (attempt_until is null or attempt_until <= clock_timestamp());

-- begin_attempt --
-- One at a time brings an answer to its container.
update permissions set attempt_until = clock_timestamp() + make_interval(secs => %(seconds)s)
where project_id = %(project_id)s and id = %(id)s and state = 'answering'
    and (attempt_until is null or attempt_until <= clock_timestamp())
returning *;

-- withdraw_allowance --
-- What a rule has allowed and the project allows no more is refused, unless it is settled by now.
update permissions set option_id = %(option_id)s, resolved_by = %(resolved_by)s, rule = null
where project_id = %(project_id)s and id = %(id)s and state = 'answering' and rule is not null
returning *;

-- end_attempt --
-- It could not be brought: somebody else may try.
update permissions set attempt_until = null
where project_id = %(project_id)s and id = %(id)s and state = 'answering';

-- unsettled_permissions_of_other_boots --
-- Requests whose container has restarted since: nobody there waits for their answers. Some of them.
select project_id, id, session_id, turn_id, agent_id, rule from permissions
where project_id = %(project_id)s and state in ('waiting', 'answering') and container_boot_id <> %(boot_id)s
order by id limit 500;

-- settle_permission --
-- A permission request has its outcome; the first one stays.
update permissions set state = %(outcome)s, option_id = %(option_id)s, resolved_by = %(resolved_by)s,
    resolved_at = now(), gone = %(gone)s
where project_id = %(project_id)s and id = %(id)s and state in ('waiting', 'answering');

-- settle_permissions_of_turn --
-- A turn that is over waits for no answer, whether its container has said so or not.
update permissions set state = 'cancelled', option_id = null, resolved_by = 'container', resolved_at = now(),
    gone = true
where project_id = %(project_id)s and turn_id = %(turn_id)s and state in ('waiting', 'answering');

-- count_unsettled_permissions --
-- How many answers a session's agent still waits for.
select count(*) as number from permissions
where project_id = %(project_id)s and session_id = %(session_id)s and state in ('waiting', 'answering');

-- unsettled_permissions --
-- What a session's agent still waits for.
select project_id, id, session_id, turn_id, agent_id, rule from permissions
where project_id = %(project_id)s and session_id = %(session_id)s and state in ('waiting', 'answering')
order by requested_at, id;

-- append_events --
-- The one way into the log.
select * from append_events(%(project_id)s, %(log)s, %(fence)s, %(source)s, %(numbers)s::bigint[],
    %(types)s::text[], %(sessions)s::text[], %(turns)s::text[], %(agents)s::text[], %(ats)s::timestamptz[],
    %(keys)s::text[], %(payloads)s::bytea[]);

-- append_series --
-- The same for events of one source that follow one another, at half the cost; a base of null: they do not.
select * from append_series(%(project_id)s, %(log)s, %(fence)s, %(source)s, %(first)s, %(types)s::text[],
    %(sessions)s::text[], %(turns)s::text[], %(agents)s::text[], %(kinds)s::integer[], %(ats)s::bigint[],
    %(begins)s::integer[], %(lengths)s::integer[], convert_to(%(payloads)s, 'UTF8'));

-- lock_head --
-- Before a change that is told in the log: whoever appends holds the head first, and what hangs on the project after it.
select head from log_heads where project_id = %(project_id)s and log = %(log)s for update;

-- get_head --
-- Where a log begins and ends, and where a former epoch of it ended at a failover.
select h.epoch, h.floor, h.head, f.head as former_head
from log_heads h left join former_epochs f
    on f.project_id = h.project_id and f.log = h.log and f.epoch = %(former)s::integer
where h.project_id = %(project_id)s and h.log = %(log)s;

-- begin_epochs --
-- The database was restored from a backup: each log becomes another one. Its epoch is one that none had, also of those
-- that were given after the backup: by the clock, because the sequence is as old as the backup (seconds since 2026). A
-- project's own log says that something is missing here.
with past as materialized (
    select setval('log_epochs', greatest(
        nextval('log_epochs'), (extract(epoch from clock_timestamp()) - 1767225600)::bigint)) as epoch
), begun as (
    update log_heads set epoch = nextval('log_epochs'), head = head + case log when 'acp' then 1 else 0 end
    from past where past.epoch > 0
    returning project_id, log, head
)
insert into events (project_id, log, seq, type, at, payload)
select project_id, log, head, 'gap', now(), %(gap)s from begun where log = 'acp';

-- get_heads --
-- Where several logs end.
select project_id, log, epoch, head
from log_heads join unnest(%(project_ids)s::text[], %(logs)s::text[]) as wanted (project_id, log) using (project_id, log);

-- read_events --
-- Where a log begins and ends, beside each of the events after a place, and beside nothing where there is none. At most
-- 500 rows and about 256 KiB, and the first pack that ends after the place: what lies behind it is for the next time.
-- A pack that is `known` comes without its events.
with first_pack as (
    select last_seq, encoded from event_packs
    where project_id = %(project_id)s and log = %(log)s and last_seq > %(after)s
    order by last_seq limit 1
), end_of_page as (
    select coalesce((select last_seq from first_pack), 9223372036854775807) as seq
), page as (
    select e.*, sum(octet_length(payload)) over (order by seq) - octet_length(payload) as bytes_before
    from (
        select * from events
        where project_id = %(project_id)s and log = %(log)s and seq > %(after)s and seq <= (select seq from end_of_page)
        order by seq limit 500
    ) e
)
select h.epoch, h.floor, h.head, e.*
from log_heads h
left join (
    select false as pack, seq, type, session_id, turn_id, agent_id, at, payload from page where bytes_before < 262144
    union all
    select true, last_seq, null, null, null, null, null,
        case when last_seq = any(%(known)s::bigint[]) then null else encoded end
    from first_pack
) e on true
where h.project_id = %(project_id)s and h.log = %(log)s
order by e.seq;

-- read_event --
-- An event that is kept and not packed, of a log of this epoch.
select e.* from events e join log_heads h using (project_id, log)
where e.project_id = %(project_id)s and e.log = %(log)s and e.seq = %(seq)s and h.epoch = %(epoch)s and e.seq > h.floor;

-- read_blocks --
-- Where a log begins and ends, and the events after a place as blocks of an event stream, about 1 MiB and at most
-- twice that: for who is far behind. Each lacks its end, which stands between them. Nothing where packs are yet to come;
-- fails where data is no UTF-8. It is text because bytea travels at twice its size, and costs more here than its framing.
with far as materialized (
    select max(seq) as seq, sum(octet_length(payload)) as bytes
    from (
        select seq, payload from events
        where project_id = %(project_id)s and log = %(log)s and seq > %(after)s
            and not exists (
                select from event_packs where project_id = %(project_id)s and log = %(log)s and last_seq > %(after)s)
        order by seq limit %(limit)s
    ) e
), last as materialized (
    -- A sum for each event costs as much as its framing, so that it is made only where events are large.
    select case when bytes < 2097152 then seq else (
        select max(e.seq) from (
            select p.seq, sum(octet_length(payload)) over (order by p.seq) - octet_length(payload) as bytes_before
            from events p
            where p.project_id = %(project_id)s and p.log = %(log)s and p.seq > %(after)s and p.seq <= far.seq
        ) e where bytes_before < 1048576
    ) end as seq
    from far
), kinds as materialized (
    select type, session_id, turn_id, agent_id,
        chr(10) || 'event: ' || type || chr(10) || 'data: {"type":' || to_json(type)
            || coalesce(',"sessionId":' || to_json(session_id), '') || coalesce(',"turnId":' || to_json(turn_id), '')
            || coalesce(',"agentId":' || to_json(agent_id), '') || ',"at":"' as begun
    from (
        select distinct type, session_id, turn_id, agent_id from events
        where project_id = %(project_id)s and log = %(log)s and seq > %(after)s and seq <= (select seq from last)
    ) k
)
select h.epoch, h.floor, h.head, (select seq from last) as last_seq, (
    select string_agg('id: ' || h.epoch || '-' || p.seq
            || (select k.begun from kinds k
                where k.turn_id is not distinct from p.turn_id and k.type = p.type
                    and k.session_id is not distinct from p.session_id and k.agent_id is not distinct from p.agent_id)
            || to_char(p.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z\",\"data\":"')
            || convert_from(p.payload, 'UTF8'),
        '}' || chr(10) || chr(10) order by p.seq)
    from events p
    where p.project_id = %(project_id)s and p.log = %(log)s and p.seq > %(after)s and p.seq <= (select seq from last)
) as blocks
from log_heads h
where h.project_id = %(project_id)s and h.log = %(log)s;

-- read_session_blocks --
-- The same of one session with the project's gaps and changes, and their numbers, as these have holes; nothing where events
-- are large.
with page as materialized (
    select e.* from (
        (select seq, type, session_id, turn_id, agent_id, at, payload from events
         where project_id = %(project_id)s and log = %(log)s and session_id = %(session_id)s and seq > %(after)s
            and not exists (select from event_packs where project_id = %(project_id)s and log = %(log)s
                and last_seq > %(after)s and %(session_id)s = any(sessions))
         order by seq limit %(limit)s)
        union all
        (select seq, type, session_id, turn_id, agent_id, at, payload from events
         where project_id = %(project_id)s and log = %(log)s and type in ('gap', 'project_changed') and session_id is null
            and seq > %(after)s
            and not exists (select from event_packs where project_id = %(project_id)s and log = %(log)s
                and last_seq > %(after)s and %(session_id)s = any(sessions))
         order by seq limit %(limit)s)
        order by seq limit %(limit)s
    ) e
), kinds as materialized (
    select type, session_id, turn_id, agent_id,
        chr(10) || 'event: ' || type || chr(10) || 'data: {"type":' || to_json(type)
            || coalesce(',"sessionId":' || to_json(session_id), '') || coalesce(',"turnId":' || to_json(turn_id), '')
            || coalesce(',"agentId":' || to_json(agent_id), '') || ',"at":"' as begun
    from (select distinct type, session_id, turn_id, agent_id from page) k
)
select h.epoch, h.floor, h.head, b.seqs, b.blocks
from log_heads h
left join lateral (
    select array_agg(p.seq order by p.seq) as seqs,
        string_agg('id: ' || h.epoch || '-' || p.seq
            || (select k.begun from kinds k
                where k.turn_id is not distinct from p.turn_id and k.type = p.type
                    and k.session_id is not distinct from p.session_id and k.agent_id is not distinct from p.agent_id)
            || to_char(p.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z\",\"data\":"')
            || convert_from(p.payload, 'UTF8'),
        '}' || chr(10) || chr(10) order by p.seq) as blocks
    from page p
    where (select sum(octet_length(payload)) from page) < 2097152
) b on true
where h.project_id = %(project_id)s and h.log = %(log)s;

-- read_packs --
-- Where a log begins and ends, beside each of the packs that end after a place, of all sessions or of one, and of the
-- events that stayed rows among them: at most 500 of those and about 256 KiB. Nothing but the log where no pack is left.
with packs as materialized (
    select last_seq, encoded from event_packs
    where project_id = %(project_id)s and log = %(log)s and last_seq > %(after)s
        and (%(session_id)s::text is null or %(session_id)s = any(sessions))
    order by last_seq limit %(limit)s
), page as (
    select e.*, sum(octet_length(payload)) over (order by seq) - octet_length(payload) as bytes_before
    from (
        select * from events
        where project_id = %(project_id)s and log = %(log)s and seq > %(after)s
            and seq <= (select max(last_seq) from packs)
            and (%(session_id)s::text is null or session_id = %(session_id)s
                or (type in ('gap', 'project_changed') and session_id is null))
        order by seq limit 500
    ) e
)
select h.epoch, h.floor, h.head, e.*
from log_heads h
left join (
    select false as pack, seq, type, session_id, turn_id, agent_id, at, payload from page where bytes_before < 262144
    union all
    select true, last_seq, null, null, null, null, null, encoded from packs
) e on true
where h.project_id = %(project_id)s and h.log = %(log)s
order by e.seq;

-- read_session_events --
-- The same of one session, with the project's gaps and changes, which concern every session.
with first_pack as (
    select last_seq, encoded from event_packs
    where project_id = %(project_id)s and log = %(log)s and last_seq > %(after)s and %(session_id)s = any(sessions)
    order by last_seq limit 1
), end_of_page as (
    select coalesce((select last_seq from first_pack), 9223372036854775807) as seq
), page as (
    select e.*, sum(octet_length(payload)) over (order by seq) - octet_length(payload) as bytes_before
    from (
        (select * from events
         where project_id = %(project_id)s and log = %(log)s and session_id = %(session_id)s and seq > %(after)s
            and seq <= (select seq from end_of_page)
         order by seq limit 500)
        union all
        (select * from events
         where project_id = %(project_id)s and log = %(log)s and type in ('gap', 'project_changed') and session_id is null
            and seq > %(after)s
            and seq <= (select seq from end_of_page)
         order by seq limit 500)
        order by seq limit 500
    ) e
)
select h.epoch, h.floor, h.head, e.*
from log_heads h
left join (
    select false as pack, seq, type, session_id, turn_id, agent_id, at, payload from page where bytes_before < 262144
    union all
    select true, last_seq, null, null, null, null, null,
        case when last_seq = any(%(known)s::bigint[]) then null else encoded end
    from first_pack
) e on true
where h.project_id = %(project_id)s and h.log = %(log)s
order by e.seq;

-- list_logs_to_pack --
-- Logs with enough events that are old enough. Up to where a log ended when somebody last looked its events are older
-- than that look, whatever time they bear.
select project_id, log
from log_heads h join log_storage s using (project_id, log)
where h.growing and h.head - s.packed_to >= %(least)s and s.seen_at <= now() - make_interval(secs => %(seconds)s)
order by s.seen_at
limit 100;

-- settle_logs --
-- Logs with too few events to be packed need not be looked at before more come.
with settled as (
    select project_id, log from log_heads h join log_storage s using (project_id, log)
    where h.growing and h.head - s.packed_to < %(least)s
    limit 500 for update of h skip locked
)
update log_heads h set growing = false from settled s where h.project_id = s.project_id and h.log = s.log;

-- lock_storage --
-- One at a time packs or deletes events of a log; whoever finds it taken leaves it. `old_to`: up to here its events are
-- old enough to be packed.
select s.*, h.head, h.floor,
    case when %(seconds)s = 0 then h.head when s.seen_at <= now() - make_interval(secs => %(seconds)s) then s.seen_head
        else s.packed_to end as old_to
from log_storage s join log_heads h using (project_id, log)
where s.project_id = %(project_id)s and s.log = %(log)s
for update of s skip locked;

-- list_events_to_pack --
-- The oldest events that are not packed and need not stay rows, as gaps and those with a key do, at most 500 and about 256 KiB.
select * from (
    select e.*, sum(octet_length(payload)) over (order by seq) - octet_length(payload) as bytes_before
    from (
        select * from events
        where project_id = %(project_id)s and log = %(log)s and seq > %(after)s and seq <= %(old_to)s
            and event_key is null and type <> 'gap'
        order by seq limit 500
    ) e
) counted
where bytes_before < 262144
order by seq;

-- pack_events --
-- A pack takes the place of its rows.
with packed as (
    delete from events
    where project_id = %(project_id)s and log = %(log)s and seq between %(first_seq)s and %(last_seq)s
        and event_key is null and type <> 'gap'
    returning seq
), storage as (
    update log_storage set packed_to = %(last_seq)s where project_id = %(project_id)s and log = %(log)s
)
insert into event_packs (project_id, log, first_seq, last_seq, sessions, newest_at, encoded)
select %(project_id)s, %(log)s, %(first_seq)s, %(last_seq)s, %(sessions)s::text[], %(newest_at)s, %(encoded)s
where (select count(*) from packed) = %(number)s
returning last_seq;

-- claim_logs_to_look_at --
-- Logs of which somebody should look what need not be kept, with the rule of their project; for a minute nobody else
-- does.
update log_storage s set looked_at = now()
from projects p
where p.id = s.project_id and (s.project_id, s.log) in (
    select l.project_id, l.log from log_storage l where l.looked_at <= now() - interval '1 minute'
    order by l.looked_at limit 20 for update skip locked)
returning s.project_id, s.log, p.retention;

-- claim_logs_with_rule --
-- The same of those whose project has a rule of its own.
update log_storage s set looked_at = now()
from projects p
where p.id = s.project_id and (s.project_id, s.log) in (
    select l.project_id, l.log from projects o join log_storage l on l.project_id = o.id
    where o.retention is not null and l.looked_at <= now() - interval '1 minute'
    order by l.looked_at limit 20 for update of l skip locked)
returning s.project_id, s.log, p.retention;

-- find_retention_cut --
-- Up to where a log need not be kept: up to before the first event that is young enough, or up to where those behind
-- take as many bytes as allowed. A time that cannot be, before there was the project or in the future, is taken from
-- this clock: when the event was packed, or now.
with log as (
    select h.project_id, h.log, h.floor, p.created_at
    from log_heads h join projects p on p.id = h.project_id
    where h.project_id = %(project_id)s and h.log = %(log)s
), units as (
    select e.first_seq, e.last_seq, octet_length(e.encoded) as bytes,
        case when e.newest_at between log.created_at and now() then e.newest_at else e.packed_at end as at
    from log join event_packs e using (project_id, log) where e.last_seq > log.floor
    union all
    select e.seq, e.seq, octet_length(e.payload), case when e.at between log.created_at and now() then e.at else now() end
    from log join events e using (project_id, log) where e.seq > log.floor
), young as (
    select min(first_seq) as seq from units where at >= now() - make_interval(days => %(days)s)
), summed as (
    select last_seq, sum(bytes) over (order by last_seq desc) as total from units
), ruled as (
    select greatest(
        case when %(days)s::integer is not null
            then coalesce((select seq - 1 from young), (select max(last_seq) from units)) end,
        (select max(last_seq) from summed where total > %(bytes)s)) as cut
)
-- A turn that runs keeps its events. least() alone would take its beginning where the rules cut nothing.
select log.floor, case when cut is not null then least(cut,
    (select min(t.before_seq) from turns t
     where t.project_id = log.project_id and log.log = 'acp' and t.state = 'running')) end as cut
from log, ruled;

-- list_sessions_up_to --
-- Sessions with events up to a place that their messages may not cover.
select s.id from agent_sessions s
where s.project_id = %(project_id)s and s.folded_to < %(seq)s and (
    exists (select from events e
            where e.project_id = s.project_id and e.log = 'acp' and e.session_id = s.id
                and e.seq > s.folded_to and e.seq <= %(seq)s)
    or exists (select from event_packs p
               where p.project_id = s.project_id and p.log = 'acp' and p.last_seq > s.folded_to
                   and p.first_seq <= %(seq)s and s.id = any(p.sessions)));

-- delete_packs_up_to --
-- Packs that end at a place or before it.
delete from event_packs where project_id = %(project_id)s and log = %(log)s and last_seq <= %(seq)s;

-- delete_events_up_to --
-- Events up to a place, but for those whose key is to be known on.
delete from events where project_id = %(project_id)s and log = %(log)s and seq <= %(seq)s and event_key is null;

-- empty_events_up_to --
-- Of events with a key nothing is kept but that.
update events set payload = ''
where project_id = %(project_id)s and log = %(log)s and seq <= %(seq)s and event_key is not null and payload <> '';

-- raise_floor --
-- A log begins after this place.
update log_heads set floor = greatest(floor, %(seq)s) where project_id = %(project_id)s and log = %(log)s;

-- delete_old_keys --
-- Nobody reports any more what was deleted and is as old as this.
delete from events where project_id = %(project_id)s and log = %(log)s and seq in (
    select e.seq from events e join log_heads h using (project_id, log)
    where e.project_id = %(project_id)s and e.log = %(log)s and e.seq <= h.floor and e.at < now() - interval '7 days'
    order by e.seq limit %(limit)s);

-- delete_old_messages --
-- Messages that were last changed so long ago.
delete from agent_session_messages where project_id = %(project_id)s and (session_id, first_seq) in (
    select session_id, first_seq from agent_session_messages
    where project_id = %(project_id)s and updated_at < now() - make_interval(days => %(days)s)
    order by updated_at limit %(limit)s);

-- note_head --
-- What is old enough has been packed; the next look is at what stands in the log now.
update log_storage set seen_head = %(head)s, seen_at = now() where project_id = %(project_id)s and log = %(log)s;

-- get_source_mark --
-- How far a source has been stored.
select mark from log_sources where project_id = %(project_id)s and log = %(log)s and source = %(source)s;

-- acquire_leases --
-- The right to append what containers say, with its fence, for each project that wants a follower and has none.
select * from acquire_leases(%(holder)s, %(seconds)s, %(asked)s::text[], %(everything)s, %(limit)s);

-- renew_leases --
-- Goes on holding; what comes not back is lost. One that ran out while nobody else took it is still the holder's.
-- Together with it, until when all that OpenCode's streams said is stored.
with renewed as (
    update follower_leases l set expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
    from unnest(%(project_ids)s::text[], %(fences)s::bigint[]) as held (project_id, fence)
    where l.project_id = held.project_id and l.fence = held.fence and l.holder = %(holder)s
    returning l.project_id, l.fence
), stored as (
    update opencode_streams s set stored_at = known.at
    from unnest(%(stored_projects)s::text[], %(stored_logs)s::text[], %(stored_ats)s::timestamptz[])
        as known (project_id, log, at)
    join renewed r on r.project_id = known.project_id
    where s.project_id = known.project_id and s.log = known.log and s.read_under = r.fence
)
select project_id, fence from renewed;

-- release_leases --
-- Lets somebody else follow at once, where there is a reason to.
update follower_leases l set expires_at = clock_timestamp(), holder = '', connected = false,
    wanted = exists (select from agent_sessions s where s.project_id = l.project_id and s.status <> 'ended')
        or exists (select from projects p where p.id = l.project_id and p.record_opencode_events)
from unnest(%(project_ids)s::text[], %(fences)s::bigint[]) as held (project_id, fence)
where l.project_id = held.project_id and l.fence = held.fence and l.holder = %(holder)s;

-- forget_unwanted_leases --
-- What nobody has a reason to follow is looked for no more: who held it has died, and its last session has ended.
with unwanted as (
    select l.project_id from follower_leases l
    where l.wanted and l.expires_at <= clock_timestamp()
        and not exists (select from agent_sessions s where s.project_id = l.project_id and s.status <> 'ended')
        and not exists (select from projects p where p.id = l.project_id and p.record_opencode_events)
    for update skip locked
)
update follower_leases l set wanted = false from unwanted where l.project_id = unwanted.project_id;

-- expire_leases --
-- The only gateways on their database are about to start: whoever held them is gone.
update follower_leases set expires_at = clock_timestamp(), holder = '', connected = false
where expires_at > clock_timestamp() or holder <> '' or connected;

-- get_lease --
-- Who follows, and whether it is reading now.
select holder, fence, connected, source, expires_at > clock_timestamp() as held
from follower_leases where project_id = %(project_id)s;

-- get_opencode_stream --
-- Whether the holder of the project's lease is reading this stream of OpenCode's, and until when all of it is stored.
select s.stored_at, exists (
    select from follower_leases l
    where l.project_id = s.project_id and l.fence = s.read_under and l.expires_at > clock_timestamp()) as connected
from opencode_streams s where s.project_id = %(project_id)s and s.log = %(log)s;

-- set_lease_connected --
-- The holder is reading the container's stream; which one, and what the container is.
with connected as (
    update follower_leases set connected = true, source = %(source)s
    where project_id = %(project_id)s and holder = %(holder)s and fence = %(fence)s
    returning project_id, fence
)
insert into container_facts (project_id, fence, boot_id, capabilities, working_directory)
select project_id, fence, %(boot_id)s, %(capabilities)s::text[], %(working_directory)s from connected
on conflict (project_id) do update set fence = excluded.fence, boot_id = excluded.boot_id,
    capabilities = excluded.capabilities, working_directory = excluded.working_directory;

-- set_lease_disconnected --
-- The holder reads the container's stream no more.
update follower_leases set connected = false
where project_id = %(project_id)s and holder = %(holder)s and fence = %(fence)s;

-- get_container_facts --
-- What the container at this address is, as long as somebody reads its stream: it is of that boot still.
select f.boot_id, f.capabilities, f.working_directory from container_facts f
join follower_leases l on l.project_id = f.project_id and l.fence = f.fence
    and l.connected and l.expires_at > clock_timestamp()
join projects p on p.id = f.project_id
where f.project_id = %(project_id)s and p.container_url = %(container_url)s
    and p.acp_url is not distinct from %(acp_url)s;

-- insert_opencode_log --
-- The first time that somebody asks for a stream of OpenCode's it gets a log, where OpenCode's events are recorded.
with head as (
    insert into log_heads (project_id, log)
    select id, %(log)s from projects where id = %(project_id)s and record_opencode_events
    on conflict do nothing
    returning project_id, log
)
insert into log_storage (project_id, log) select project_id, log from head;

-- set_opencode_connected --
-- The holder is reading a stream of OpenCode's; all that it said before is stored.
insert into opencode_streams (project_id, log, read_under, stored_at)
select project_id, %(log)s, fence, %(stored_at)s from follower_leases
where project_id = %(project_id)s and holder = %(holder)s and fence = %(fence)s
on conflict (project_id, log) do update set read_under = excluded.read_under, stored_at = excluded.stored_at;

-- set_opencode_disconnected --
-- The holder is not reading it any more, and until when all that it said is stored, if that is known.
update opencode_streams s set read_under = null, stored_at = coalesce(%(stored_at)s, s.stored_at)
from follower_leases l
where s.project_id = %(project_id)s and s.log = %(log)s
    and l.project_id = s.project_id and l.holder = %(holder)s and l.fence = %(fence)s;

-- claim_opencode_log --
-- From here on the holder of this fence alone appends to a log of OpenCode's events: it may be younger than the lease.
update log_heads h set fence = %(fence)s from follower_leases l
where h.project_id = %(project_id)s and h.log = %(log)s and h.fence <= %(fence)s
    and l.project_id = %(project_id)s and l.holder = %(holder)s and l.fence = %(fence)s;

-- list_recorded --
-- Which of these logs of OpenCode's streams are to be recorded for the projects that are `held`, but for those that are
-- `read`; and which of the `known` ones no longer are.
select h.project_id, h.log, p.record_opencode_events as recorded
from log_heads h join projects p on p.id = h.project_id
where h.log = any(%(logs)s::text[]) and p.record_opencode_events and h.project_id = any(%(held)s::text[])
    and (h.project_id, h.log) not in (
        select * from unnest(%(read_projects)s::text[], %(read_logs)s::text[]))
union all
select k.project_id, k.log, false
from unnest(%(known_projects)s::text[], %(known_logs)s::text[]) as k (project_id, log)
join projects p on p.id = k.project_id and not p.record_opencode_events;

-- set_opencode_directory --
-- Where a project's OpenCode works, as it says itself.
update projects set opencode_directory = %(directory)s
where id = %(id)s and opencode_directory is distinct from %(directory)s;

-- renew_gateway --
-- A gateway lives; one that was forgotten while it was paused is there again.
insert into gateways as g (id, expires_at) values (%(id)s, clock_timestamp() + make_interval(secs => %(seconds)s))
on conflict (id) do update set expires_at = excluded.expires_at;

-- delete_gateway --
-- A gateway has stopped: what it held is anybody's at once.
delete from gateways where id = %(id)s;

-- expire_gateways --
-- The only gateways on their database are about to start: whoever was there is dead.
update gateways set expires_at = least(expires_at, clock_timestamp());

-- forget_dead_gateways --
-- Rows of gateways that nobody will hear of again.
delete from gateways where expires_at < clock_timestamp() - interval '1 hour';

-- list_projects_to_follow --
-- Which of these have a living session, or one that is being created, or have OpenCode's events recorded; and which have
-- a turn that is not over, or a permission request without its outcome.
select p.id,
    exists (select from turns t where t.project_id = p.id and t.state in ('queued', 'running'))
    or exists (select from permissions q where q.project_id = p.id and q.state in ('waiting', 'answering')) as is_busy
from unnest(%(project_ids)s::text[]) as p (id)
where exists (select from agent_sessions s where s.project_id = p.id
        and (s.status = 'active' or (s.status = 'creating' and s.created_at > now() - interval '5 minutes')))
    or exists (select from projects r where r.id = p.id and r.record_opencode_events);

-- listen_for_wakeups --
-- Hear what other gateways have done.
listen acp_gateway;

-- stop_listening --
-- Hear nothing any more: through a pooler, somebody else may have this session next.
unlisten acp_gateway;

-- send_wakeups --
-- Tell other gateways what was done here, after it was committed.
select pg_notify('acp_gateway', payload) from unnest(%(payloads)s::text[]) as payload;

-- probe --
-- Whether the connection lives.
select 1;

-- get_fold --
-- How far a session's messages cover the log, which of them go on, from where on it is shown, and where the log begins
-- and ends.
select s.folded_to, s.cleared_to, h.epoch, h.floor, h.head,
    case when s.open_messages_at = s.folded_to then s.open_messages else '{}' end as open_messages
from agent_sessions s join log_heads h on h.project_id = s.project_id and h.log = 'acp'
where s.project_id = %(project_id)s and s.id = %(session_id)s;

-- list_unfolded_turns --
-- A session's turns that have ended, and whose messages may not be written yet.
select id from turns
where project_id = %(project_id)s and session_id = %(session_id)s and not folded and ended_at is not null;

-- mark_folded --
-- The messages of these turns are written.
update turns set folded = true where project_id = %(project_id)s and id = any(%(ids)s::text[]);

-- list_unfolded_sessions --
-- Sessions with turns that ended a while ago and whose messages may not be written yet: who was to do it may have died.
select distinct project_id, session_id
from turns
where not folded and ended_at < now() - interval '5 seconds'
limit 100;

-- list_unwritten_sessions --
-- Sessions of a project that run a turn, and whose messages lack more than so many bytes of the log. A long text that
-- goes on is written whole each time, and so not before it has grown by a part of its size.
with running as materialized (
    select s.id, s.folded_to, s.open_messages
    from turns t join agent_sessions s on s.project_id = t.project_id and s.id = t.session_id
    where t.project_id = %(project_id)s and t.state = 'running'
)
select %(project_id)s as project_id, r.id as session_id
from running r
where exists (
    select from (
        select e.payload from events e
        where e.project_id = %(project_id)s and e.log = 'acp' and e.session_id = r.id and e.seq > r.folded_to
        order by e.seq
        limit 50000
    ) unwritten
    having count(*) = 50000 or sum(octet_length(unwritten.payload)) > greatest(%(bytes)s, (
        select 4 * sum(octet_length(m.body)) from agent_session_messages m
        where m.project_id = %(project_id)s and m.session_id = r.id and m.first_seq = any(r.open_messages)
    ))
);

-- lock_fold --
-- One fold of a session at a time.
select folded_to, cleared_to from agent_sessions
where project_id = %(project_id)s and id = %(session_id)s for update;

-- set_folded --
-- The messages cover the log up to here, and these of them go on there.
update agent_sessions set folded_to = %(folded_to)s, open_messages = %(open_messages)s::bigint[],
    open_messages_at = %(folded_to)s
where project_id = %(project_id)s and id = %(session_id)s;

-- set_cleared --
-- With the newest event a session's history begins anew. A fold of it that is under way is let finish before its messages
-- are deleted.
update agent_sessions s set cleared_to = h.head - 1, folded_to = greatest(s.folded_to, h.head - 1)
from log_heads h
where h.project_id = s.project_id and h.log = 'acp' and s.project_id = %(project_id)s and s.id = %(session_id)s;

-- upsert_messages --
-- Folded messages. One that goes on, such as a tool call after its turn, is written again.
insert into agent_session_messages
    (project_id, session_id, first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at, body, outline, outlined_to)
select %(project_id)s, %(session_id)s, first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at, body,
    nullif(outline, ''), last_seq
from unnest(%(first_seqs)s::bigint[], %(last_seqs)s::bigint[], %(roles)s::text[], %(turn_ids)s::text[],
    %(tool_call_ids)s::text[], %(ats)s::timestamptz[], %(updated_ats)s::timestamptz[], %(bodies)s::bytea[],
    %(outlines)s::bytea[]) as m (first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at, body, outline)
on conflict (project_id, session_id, first_seq) do update
set last_seq = excluded.last_seq, updated_at = excluded.updated_at, body = excluded.body, outline = excluded.outline,
    outlined_to = excluded.outlined_to;

-- list_messages --
-- A session's folded messages after one, oldest first, with their outlines if they have some: up to a number of bytes as
-- stored, and the one that exceeds it.
select * from (
    select m.*, sum(octet_length(body)) over (order by first_seq) - octet_length(body) as bytes_before
    from (
        select first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at,
            case when outlined_to = last_seq then coalesce(outline, body) else body end as body,
            coalesce(outlined_to = last_seq, false) as is_outlined
        from agent_session_messages
        where project_id = %(project_id)s and session_id = %(session_id)s and first_seq > %(after)s
        order by first_seq limit %(limit)s
    ) m
) counted
where bytes_before < %(bytes)s
order by first_seq;

-- list_messages_backwards --
-- The same before one, newest first.
select * from (
    select m.*, sum(octet_length(body)) over (order by first_seq desc) - octet_length(body) as bytes_before
    from (
        select first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at,
            case when outlined_to = last_seq then coalesce(outline, body) else body end as body,
            coalesce(outlined_to = last_seq, false) as is_outlined
        from agent_session_messages
        where project_id = %(project_id)s and session_id = %(session_id)s and first_seq < %(before)s
        order by first_seq desc limit %(limit)s
    ) m
) counted
where bytes_before < %(bytes)s
order by first_seq desc;

-- get_message --
-- A folded message, whole.
select first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at, body
from agent_session_messages
where project_id = %(project_id)s and session_id = %(session_id)s and first_seq = %(first_seq)s;

-- export_messages --
-- The next of a session's folded messages, oldest first, at most 200 and about 1 MiB.
select * from (
    select m.*, sum(octet_length(body)) over (order by first_seq) - octet_length(body) as bytes_before
    from (
        select first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at, body
        from agent_session_messages
        where project_id = %(project_id)s and session_id = %(session_id)s and first_seq > %(after)s
        order by first_seq limit 200
    ) m
) counted
where bytes_before < 1048576
order by first_seq;

-- list_stored_tool_calls --
-- Which of these tool calls have messages that later events may change.
select tool_call_id from agent_session_messages
where project_id = %(project_id)s and session_id = %(session_id)s and tool_call_id = any(%(tool_call_ids)s)
    and first_seq <= %(before)s;

-- list_tool_messages --
-- Messages of tool calls that later events may change: of several calls with one id the newest.
select distinct on (tool_call_id) first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at, body
from agent_session_messages
where project_id = %(project_id)s and session_id = %(session_id)s and tool_call_id = any(%(tool_call_ids)s)
    and first_seq <= %(before)s
order by tool_call_id, first_seq desc;

-- list_open_messages --
-- A text or a plan that later events go on with; not what somebody else has written since that was known.
select first_seq, last_seq, role, turn_id, tool_call_id, at, updated_at, body
from agent_session_messages
where project_id = %(project_id)s and session_id = %(session_id)s and first_seq = any(%(first_seqs)s::bigint[])
    and last_seq <= %(folded_to)s;

-- delete_messages --
-- A session's history as people read it.
delete from agent_session_messages where project_id = %(project_id)s and session_id = %(session_id)s;

-- get_agent_auth_token --
-- A user's sealed credential for an agent.
select * from agent_auth_tokens where user_id = %(user_id)s and agent_id = %(agent_id)s;

-- list_agent_auth_tokens --
-- A user's credentials, by agent, after a given one.
select * from agent_auth_tokens
where user_id = %(user_id)s and (%(after)s::text is null or agent_id > %(after)s)
order by agent_id limit %(limit)s;

-- save_agent_auth_token --
-- A user has one credential for an agent; the newest counts.
insert into agent_auth_tokens as t
    (user_id, agent_id, token_type, provider_id, subject, sealed_access_token, sealed_refresh_token, key_id,
    fingerprint, scopes, expires_at, refresh_expires_at)
values (%(user_id)s, %(agent_id)s, %(token_type)s, %(provider_id)s, %(subject)s, %(sealed_access_token)s,
    %(sealed_refresh_token)s, %(key_id)s, %(fingerprint)s, %(scopes)s::text[], %(expires_at)s, %(refresh_expires_at)s)
on conflict (user_id, agent_id) do update set
    token_type = excluded.token_type, provider_id = excluded.provider_id, subject = excluded.subject,
    sealed_access_token = excluded.sealed_access_token, sealed_refresh_token = excluded.sealed_refresh_token,
    key_id = excluded.key_id, fingerprint = excluded.fingerprint, scopes = excluded.scopes,
    expires_at = excluded.expires_at, refresh_expires_at = excluded.refresh_expires_at,
    state = 'authorized', state_reason = null,
    version = nextval('agent_auth_token_versions'), updated_at = now()
returning *;

-- replace_agent_auth_tokens --
-- What a refresh gave, unless the credential has changed since it was read.
update agent_auth_tokens set
    sealed_access_token = %(sealed_access_token)s, sealed_refresh_token = %(sealed_refresh_token)s,
    key_id = %(key_id)s, fingerprint = %(fingerprint)s, scopes = %(scopes)s::text[], expires_at = %(expires_at)s,
    refresh_expires_at = %(refresh_expires_at)s, state = 'authorized', state_reason = null,
    version = nextval('agent_auth_token_versions'), updated_at = now()
where user_id = %(user_id)s and agent_id = %(agent_id)s and version = %(version)s;

-- mark_agent_auth_token --
-- A credential's state, unless it has changed since it was read.
update agent_auth_tokens set
    state = %(state)s, state_reason = %(reason)s, version = nextval('agent_auth_token_versions'), updated_at = now()
where user_id = %(user_id)s and agent_id = %(agent_id)s and version = %(version)s;

-- delete_agent_auth_token --
-- Forgets a user's credential for an agent.
delete from agent_auth_tokens where user_id = %(user_id)s and agent_id = %(agent_id)s;

-- list_vault_keys --
-- Each key that was ever used, with what it sealed to be known by.
select key_id, sealed_check from vault_keys order by created_at, key_id;

-- insert_vault_key --
-- What a key is known by from now on; whoever is first decides.
insert into vault_keys (key_id, sealed_check) values (%(key_id)s, %(sealed_check)s)
on conflict (key_id) do nothing;

-- count_sealed --
-- How many rows each key seals. Of logins those that can still be completed; the others' secrets are of no use.
select key_id, count(*) as rows from (
    select key_id from agent_auth_tokens
    union all
    select container_token_key_id from projects where container_token_key_id is not null
    union all
    select sealed_with(sealed_opencode_password) from projects where sealed_opencode_password is not null
    union all
    select key_id from unrevoked_tokens
    union all
    select distinct_keys.key_id from pending_logins l cross join lateral (
        select distinct sealed_with(secret) as key_id
        from unnest(array[l.sealed_verifier, l.sealed_code, l.sealed_device_code]) secret where secret is not null
    ) distinct_keys
    where l.state in ('pending', 'arrived', 'exchanging') and l.expires_at > clock_timestamp()
    union all
    select key_id from given_secrets
    union all
    select sealed_with(sealed_container_token) from withdrawals where sealed_container_token is not null
) sealed
group by key_id order by key_id;

-- list_sealed_agent_auth_tokens --
-- Credentials under other keys than the current one, after a given one: each with the place that it is sealed to.
select array[user_id, agent_id] as id, array[user_id, agent_id] as place, sealed_access_token as access_token,
    sealed_refresh_token as refresh_token
from agent_auth_tokens
where key_id <> %(key_id)s and (%(after)s::text[] is null
    or (user_id, agent_id) > ((%(after)s::text[])[1], (%(after)s::text[])[2]))
order by user_id, agent_id limit %(limit)s;

-- reseal_agent_auth_tokens --
-- The same secrets under another key, unless somebody has stored others meanwhile. It is no new version: whoever has
-- read the former may go on with it.
update agent_auth_tokens set
    sealed_access_token = %(access_token)s, sealed_refresh_token = %(refresh_token)s, key_id = %(key_id)s
where user_id = (%(id)s::text[])[1] and agent_id = (%(id)s::text[])[2]
    and sealed_access_token = %(former_access_token)s
    and sealed_refresh_token is not distinct from %(former_refresh_token)s;

-- forget_agent_auth_tokens --
-- Deletes what a lost key has sealed.
delete from agent_auth_tokens where key_id = %(key_id)s;

-- list_sealed_given_secrets --
-- Secrets of containers' agents under other keys than the current one, after a given one.
select array[project_id, agent_id, user_id, version::text] as id, array[user_id, agent_id] as place,
    sealed_access_token as access_token
from given_secrets
where key_id <> %(key_id)s and (%(after)s::text[] is null or (project_id, agent_id, user_id, version)
    > ((%(after)s::text[])[1], (%(after)s::text[])[2], (%(after)s::text[])[3], (%(after)s::text[])[4]::bigint))
order by project_id, agent_id, user_id, version limit %(limit)s;

-- reseal_given_secrets --
-- The same secret under another key.
update given_secrets set sealed_access_token = %(access_token)s, key_id = %(key_id)s
where project_id = (%(id)s::text[])[1] and agent_id = (%(id)s::text[])[2] and user_id = (%(id)s::text[])[3]
    and version = (%(id)s::text[])[4]::bigint and sealed_access_token = %(former_access_token)s;

-- forget_given_secrets --
-- Deletes what a lost key has sealed: nobody can mask it any more.
delete from given_secrets where key_id = %(key_id)s;

-- list_sealed_projects --
-- Containers' secrets under other keys than the current one, after a given one.
select array[id] as id, array[id, coalesce(acp_url, container_url)] as place, sealed_container_token as container_token
from projects
where container_token_key_id <> %(key_id)s and (%(after)s::text[] is null or id > (%(after)s::text[])[1])
order by id limit %(limit)s;

-- reseal_projects --
-- The same secret under another key, unless somebody has stored another meanwhile.
update projects set sealed_container_token = %(container_token)s, container_token_key_id = %(key_id)s
where id = (%(id)s::text[])[1] and sealed_container_token = %(former_container_token)s;

-- forget_projects --
-- Removes the containers' secrets that a lost key has sealed.
update projects set sealed_container_token = null, container_token_key_id = null, updated_at = now()
where container_token_key_id = %(key_id)s;

-- list_sealed_opencode_passwords --
-- Passwords of containers' OpenCode under other keys than the current one, after a given one.
select array[id] as id, array[id, container_url] as place, sealed_opencode_password as opencode_password
from projects
where sealed_with(sealed_opencode_password) <> %(key_id)s
    and (%(after)s::text[] is null or id > (%(after)s::text[])[1])
order by id limit %(limit)s;

-- reseal_opencode_passwords --
-- The same password under another key, unless somebody has stored another meanwhile.
update projects set sealed_opencode_password = %(opencode_password)s
where id = (%(id)s::text[])[1] and sealed_opencode_password = %(former_opencode_password)s;

-- forget_opencode_passwords --
-- Removes the passwords that a lost key has sealed.
update projects set sealed_opencode_password = null, updated_at = now()
where sealed_with(sealed_opencode_password) = %(key_id)s;

-- list_sealed_pending_logins --
-- Logins that can still be completed, with a secret under another key than the current one, after a given one.
select array[id] as id, array[id, user_id, project_id, agent_id, provider_id] as place, sealed_verifier as verifier,
    sealed_code as code, sealed_device_code as device_code
from pending_logins
where state in ('pending', 'arrived', 'exchanging') and expires_at > clock_timestamp()
    and (sealed_with(sealed_verifier) <> %(key_id)s or sealed_with(sealed_code) <> %(key_id)s
        or sealed_with(sealed_device_code) <> %(key_id)s)
    and (%(after)s::text[] is null or id > (%(after)s::text[])[1])
order by id limit %(limit)s;

-- reseal_pending_logins --
-- The same secrets under another key, unless the login has gone on meanwhile.
update pending_logins set
    sealed_verifier = %(verifier)s, sealed_code = %(code)s, sealed_device_code = %(device_code)s
where id = (%(id)s::text[])[1] and sealed_verifier is not distinct from %(former_verifier)s
    and sealed_code is not distinct from %(former_code)s
    and sealed_device_code is not distinct from %(former_device_code)s;

-- forget_pending_logins --
-- Ends the logins that nobody can complete without a lost key.
update pending_logins set state = 'expired', code = 'login_expired', ended_at = clock_timestamp(),
    sealed_verifier = null, sealed_code = null, sealed_device_code = null, next_poll_at = null
where state in ('pending', 'arrived', 'exchanging') and %(key_id)s in (
    sealed_with(sealed_verifier), sealed_with(sealed_code), sealed_with(sealed_device_code));

-- list_sealed_unrevoked_tokens --
-- Tokens to be revoked under other keys than the current one, after a given one.
select array[id] as id, array[id, provider_id] as place, sealed_access_token as access_token,
    sealed_refresh_token as refresh_token
from unrevoked_tokens
where key_id <> %(key_id)s and (%(after)s::text[] is null or id > (%(after)s::text[])[1])
order by id limit %(limit)s;

-- reseal_unrevoked_tokens --
-- The same tokens under another key; they are never replaced.
update unrevoked_tokens set
    sealed_access_token = %(access_token)s, sealed_refresh_token = %(refresh_token)s, key_id = %(key_id)s
where id = (%(id)s::text[])[1] and sealed_access_token = %(former_access_token)s
    and sealed_refresh_token is not distinct from %(former_refresh_token)s;

-- forget_unrevoked_tokens --
-- Deletes what a lost key has sealed.
delete from unrevoked_tokens where key_id = %(key_id)s;

-- list_sealed_withdrawals --
-- Secrets of containers that are to give credentials back, under other keys than the current one, after a given one.
select array[project_id, id::text] as id, array[project_id, coalesce(acp_url, container_url)] as place,
    sealed_container_token as container_token
from withdrawals
where sealed_with(sealed_container_token) <> %(key_id)s and (%(after)s::text[] is null
    or (project_id, id) > ((%(after)s::text[])[1], (%(after)s::text[])[2]::bigint))
order by project_id, id limit %(limit)s;

-- reseal_withdrawals --
-- The same secret under another key; it is never replaced.
update withdrawals set sealed_container_token = %(container_token)s
where project_id = (%(id)s::text[])[1] and id = (%(id)s::text[])[2]::bigint
    and sealed_container_token = %(former_container_token)s;

-- forget_withdrawals --
-- Deletes what nobody can carry out without a lost key.
delete from withdrawals where sealed_with(sealed_container_token) = %(key_id)s;

-- hold_idempotency_key --
-- The right to work on a call with a key: a new key, one that is too old to count, or the same call's whose holder has
-- died. Gives the id that the key reserves; no row while somebody else works on it, and once it is answered. The version
-- before this one sets `held_until`, and may run beside it.
insert into idempotency_keys as k (project_id, user_id, key, digest, resource_id, holder)
values (%(project_id)s, %(user_id)s, %(key)s, %(digest)s, %(resource_id)s, %(holder)s)
on conflict (project_id, user_id, key) do update set
    digest = excluded.digest, holder = excluded.holder, held_until = null, status = null, location = null, body = null,
    resource_id = case when k.created_at <= now() - make_interval(secs => %(hours)s * 3600)
        then excluded.resource_id else k.resource_id end,
    created_at = case when k.created_at <= now() - make_interval(secs => %(hours)s * 3600)
        then excluded.created_at else k.created_at end
where k.created_at <= now() - make_interval(secs => %(hours)s * 3600)
    or (k.status is null and k.digest = excluded.digest and not gateway_lives(split_part(k.holder, '.', 1))
        and coalesce(k.held_until <= clock_timestamp(), true))
returning resource_id;

-- get_idempotency_key --
-- Which call a key is of, and what that was answered.
select digest, status, location, body from idempotency_keys
where project_id = %(project_id)s and user_id = %(user_id)s and key = %(key)s
    and created_at > now() - make_interval(secs => %(hours)s * 3600);

-- answer_idempotency_key --
-- Its call is answered.
update idempotency_keys set status = %(status)s, location = %(location)s, body = %(body)s
where project_id = %(project_id)s and user_id = %(user_id)s and key = %(key)s and holder = %(holder)s
    and status is null;

-- forget_idempotency_key --
-- Its call failed and has done nothing.
delete from idempotency_keys
where project_id = %(project_id)s and user_id = %(user_id)s and key = %(key)s and holder = %(holder)s
    and status is null;

-- free_idempotency_key --
-- Its call failed and may have done something: whoever sends it again finds out.
update idempotency_keys set holder = ''
where project_id = %(project_id)s and user_id = %(user_id)s and key = %(key)s and holder = %(holder)s
    and status is null;

-- delete_old_idempotency_keys --
-- Keys that do not count any more, some at a time.
delete from idempotency_keys where (project_id, user_id, key) in (
    select project_id, user_id, key from idempotency_keys
    where created_at <= now() - make_interval(secs => %(hours)s * 3600)
    order by created_at limit %(limit)s
    for update skip locked);

-- list_migrations --
-- What has been applied to this database, by whatever version of the gateway.
select migration_id as id from _yoyo_migration;

-- count_running_turns --
-- How many turns run just now, of this user anywhere and in this project; no row where this one is there already.
select count(*) filter (where user_id = %(user_id)s) as of_user,
    count(*) filter (where project_id = %(project_id)s) as of_project
from turns where state = 'running' and (user_id = %(user_id)s or project_id = %(project_id)s)
having not exists (select from turns t where t.project_id = %(project_id)s and t.id = %(id)s);

-- count_living_sessions --
-- How many sessions of a project have not ended; no row where this one is there already.
select count(*) as living from agent_sessions where project_id = %(project_id)s and status <> 'ended'
having not exists (select from agent_sessions s where s.project_id = %(project_id)s and s.id = %(id)s);

-- ping --
-- Whether the database answers.
select 1 as one;

-- count_waiting_permissions --
-- How many permission requests wait for an answer in these projects.
select count(*) as waiting from permissions where project_id = any(%(project_ids)s) and state = 'waiting';

-- supersede_login --
-- A person begins another login for an agent: the one before it ends.
update pending_logins set state = 'superseded', ended_at = clock_timestamp()
where user_id = %(user_id)s and agent_id = %(agent_id)s and state in ('pending', 'arrived', 'exchanging');

-- insert_login --
-- A login begins.
insert into pending_logins (id, user_id, project_id, agent_id, provider_id, flow, scopes, expires_at, token_id,
    state_hash, redirect_uri, sealed_verifier, sealed_device_code, user_code, verification_uri, verification_uri_complete,
    poll_interval, next_poll_at)
values (%(id)s, %(user_id)s, %(project_id)s, %(agent_id)s, %(provider_id)s, %(flow)s, %(scopes)s::text[],
    clock_timestamp() + make_interval(secs => %(lasts)s), %(token_id)s, %(state_hash)s, %(redirect_uri)s, %(sealed_verifier)s,
    %(sealed_device_code)s, %(user_code)s, %(verification_uri)s, %(verification_uri_complete)s, %(poll_interval)s,
    clock_timestamp() + make_interval(secs => %(poll_interval)s))
returning *, clock_timestamp() as now;

-- get_newest_login --
-- The login that a person has begun last for an agent.
select *, clock_timestamp() as now from pending_logins
where user_id = %(user_id)s and agent_id = %(agent_id)s
order by created_at desc, id desc limit 1;

-- find_login_by_state --
-- The login that an answer from a provider belongs to.
select *, clock_timestamp() as now from pending_logins where state_hash = %(state_hash)s;

-- find_login_by_page --
-- The login that a page tells of.
select *, clock_timestamp() as now from pending_logins where page_hash = %(page_hash)s;

-- list_pending_code_logins --
-- A person's logins that wait for a code.
select *, clock_timestamp() as now from pending_logins
where user_id = %(user_id)s and state_hash is not null and state = 'pending' and expires_at > clock_timestamp()
order by created_at;

-- take_login --
-- A login may be completed once: whoever takes it owns it. It ends with the API token that it was begun with.
update pending_logins set state = %(state)s, sealed_code = %(sealed_code)s,
    page_hash = coalesce(%(page_hash)s::bytea, page_hash)
where id = %(id)s and state = %(was)s and expires_at > clock_timestamp()
    and (token_id is null or token_role(token_id, project_id) is not null)
returning *, clock_timestamp() as now;

-- end_login --
-- How a login ended, once; its secrets are needed no more.
update pending_logins set state = %(state)s, code = %(code)s, detail = %(detail)s, ended_at = clock_timestamp(),
    sealed_verifier = null, sealed_code = null, sealed_device_code = null, next_poll_at = null, polled_until = null,
    page_hash = coalesce(%(page_hash)s::bytea, page_hash)
where id = %(id)s and state in ('pending', 'arrived', 'exchanging')
returning *, clock_timestamp() as now;

-- claim_device_logins --
-- Device logins whose provider is to be asked now, for the one gateway that asks.
update pending_logins set polled_by = %(holder)s, polled_until = clock_timestamp() + make_interval(secs => %(seconds)s)
where id in (
    select id from pending_logins
    where state = 'pending' and next_poll_at <= clock_timestamp()
        and (polled_until is null or polled_until < clock_timestamp())
        and (token_id is null or token_role(token_id, project_id) is not null)
    order by next_poll_at limit %(limit)s for update skip locked)
returning *, clock_timestamp() as now;

-- postpone_device_login --
-- When a device login's provider is asked next.
update pending_logins set poll_interval = %(poll_interval)s, poll_failures = %(poll_failures)s, polled_until = null,
    next_poll_at = clock_timestamp() + make_interval(secs => %(wait)s)
where id = %(id)s and state = 'pending' and polled_by = %(holder)s;

-- expire_logins --
-- Logins that nobody has completed in time.
update pending_logins set state = 'expired', code = 'login_expired', ended_at = clock_timestamp(),
    sealed_verifier = null, sealed_code = null, sealed_device_code = null, next_poll_at = null
where id in (
    select id from pending_logins
    where state in ('pending', 'arrived', 'exchanging')
        and expires_at < clock_timestamp() - make_interval(secs => %(grace)s)
    limit 100 for update skip locked);

-- delete_old_logins --
-- Logins that ended long ago.
delete from pending_logins where id in (
    select id from pending_logins where created_at < now() - interval '1 day' and ended_at is not null limit 1000);

-- insert_unrevoked_tokens --
-- A provider is to be told that tokens are over; the gateway that stores them may do so before the time.
insert into unrevoked_tokens (id, provider_id, sealed_access_token, sealed_refresh_token, key_id, next_at)
values (%(id)s, %(provider_id)s, %(sealed_access_token)s, %(sealed_refresh_token)s, %(key_id)s,
    clock_timestamp() + make_interval(secs => %(wait)s))
returning *;

-- postpone_unrevoked_tokens --
-- Their provider could not be told.
update unrevoked_tokens set next_at = clock_timestamp() + make_interval(secs => %(wait)s) where id = %(id)s;

-- claim_unrevoked_tokens --
-- Tokens whose provider is to be told now, for one gateway; after `seconds` it is another's turn.
update unrevoked_tokens set attempts = attempts + 1, next_at = clock_timestamp() + make_interval(secs => %(seconds)s)
where id in (
    select id from unrevoked_tokens where next_at <= clock_timestamp()
    order by next_at limit %(limit)s for update skip locked)
returning *;

-- delete_unrevoked_tokens --
-- Their provider has been told, or will not be.
delete from unrevoked_tokens where id = %(id)s;

-- hold_renewal --
-- The right to renew a credential, for one gateway at a time. What is known of tries before counts for this version only.
insert into credential_renewals as r (user_id, agent_id, version, holder, held_until, asked)
select t.user_id, t.agent_id, t.version, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s), true
from agent_auth_tokens t
where t.user_id = %(user_id)s and t.agent_id = %(agent_id)s and t.version = %(version)s
on conflict (user_id, agent_id) do update set
    holder = excluded.holder, held_until = excluded.held_until, asked = true, version = excluded.version,
    unanswered = r.version = excluded.version and (r.unanswered or r.asked),
    attempts = case when r.version = excluded.version then r.attempts else 0 end,
    next_at = case when r.version = excluded.version then r.next_at end
where (r.held_until is null or r.held_until < clock_timestamp())
    and (r.version <> excluded.version or r.next_at is null or r.next_at <= clock_timestamp())
returning unanswered, attempts;

-- release_renewal --
-- What became of a try to renew; the next one comes after `wait` seconds.
update credential_renewals set holder = '', held_until = null, asked = false, unanswered = unanswered or %(unanswered)s,
    attempts = %(attempts)s,
    next_at = clock_timestamp() + make_interval(secs => %(wait)s)
where user_id = %(user_id)s and agent_id = %(agent_id)s and holder = %(holder)s;

-- get_renewal --
-- Whether a credential is being renewed, and in how many seconds it may be tried again.
select held_until > clock_timestamp() as held, version, attempts,
    greatest(0, extract(epoch from next_at - clock_timestamp()))::double precision as wait
from credential_renewals where user_id = %(user_id)s and agent_id = %(agent_id)s;

-- list_due_credentials --
-- Credentials that end soon, or have ended: those that nobody renews now, the most urgent first.
select t.user_id, t.agent_id
from agent_auth_tokens t left join credential_renewals r using (user_id, agent_id)
where t.state = 'authorized' and t.expires_at is not null
    and (t.expires_at <= clock_timestamp() or t.sealed_refresh_token is not null and t.expires_at
        - 1.25 * least(greatest(make_interval(secs => %(skew)s), (t.expires_at - t.updated_at) / 10),
            (t.expires_at - t.updated_at) / 2) <= clock_timestamp())
    and (r.held_until is null or r.held_until < clock_timestamp())
    and (r.version is distinct from t.version or r.next_at is null or r.next_at <= clock_timestamp())
order by t.expires_at limit %(limit)s;

-- list_projects_of_agent_user --
-- Where a person's credential for an agent matters: in which they have sessions of it, or have just logged in for it.
select project_id from (
    select project_id from agent_sessions
    where user_id = %(user_id)s and agent_id = %(agent_id)s and status <> 'ended'
    union
    select project_id from pending_logins
    where user_id = %(user_id)s and agent_id = %(agent_id)s and state = 'authorized'
    limit 200
) p
where project_role(project_id, %(user_id)s) is not null;
