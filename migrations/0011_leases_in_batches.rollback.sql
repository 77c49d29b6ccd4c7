-- Leases are taken one at a time.

drop function acquire_leases(text, double precision, text[], boolean, integer);

-- Gives the new fence, or null while somebody else holds the lease. The fence is raised in the log's head too, so
-- that an append of the former holder is refused from here on.
create function acquire_lease(p_project text, p_holder text, p_seconds double precision) returns bigint
language plpgsql as $$
declare
    v_fence bigint;
begin
    -- Those who wait for their turn ask every second: they lock nothing.
    perform from follower_leases l where l.project_id = p_project and l.expires_at > clock_timestamp();
    if found then
        return null;
    end if;
    insert into follower_leases as l (project_id, holder, fence, expires_at)
        values (p_project, p_holder, nextval('follower_fences'), clock_timestamp() + make_interval(secs => p_seconds))
        on conflict (project_id) do update
        set holder = excluded.holder, fence = excluded.fence, expires_at = excluded.expires_at, connected = false
        where l.expires_at <= clock_timestamp()
        returning fence into v_fence;
    if v_fence is not null then
        update log_heads set fence = v_fence where project_id = p_project;
    end if;
    return v_fence;
end
$$;
