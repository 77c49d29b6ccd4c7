-- Forgets which answer claimed a permission request, and who brings it to the container.

alter table permissions
    drop column gone,
    drop column attempt_until,
    drop column answered_at,
    drop column answer_id;
