-- Forgets gateways and who looks after turns; prompts that have not begun are cancelled.

drop index turns_queued;
update turns set started_at = coalesce(started_at, queued_at, now()), ended_at = coalesce(ended_at, now()),
        state = case state when 'queued' then 'cancelled' else state end
    where started_at is null or state = 'queued';
alter table turns
    drop constraint turns_state_check,
    add constraint turns_state_check
        check (state in ('running', 'completed', 'cancelled', 'failed', 'stalled', 'lost')),
    drop column gateway_id,
    drop column before_seq,
    drop column queued_at,
    drop column prompt,
    drop column sent_at,
    drop column delivered_at,
    drop column unanswered_since,
    drop column cancel_sent_at,
    drop column agent_stopped_at,
    drop column said_seq,
    drop column said_at,
    alter column started_at set not null;
drop table gateways;
