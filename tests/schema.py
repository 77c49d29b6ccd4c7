"""What a database's schema is."""

from tests.db.things import ask

#: Everything that a migration can make, one line each, as PostgreSQL describes it.
SNAPSHOT = """
select 'column', c.relname, format('%I %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm')
        and c.relnamespace = 'public'::regnamespace
union all select 'index', c.relname, pg_get_indexdef(c.oid)
    from pg_class c where c.relkind in ('i', 'I') and c.relnamespace = 'public'::regnamespace
union all select 'constraint', c.conname, c.conrelid::regclass || ' ' || pg_get_constraintdef(c.oid)
    from pg_constraint c where c.connamespace = 'public'::regnamespace
union all select 'function', p.proname, pg_get_functiondef(p.oid)
    from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prokind in ('f', 'p')
union all select 'trigger', t.tgname, pg_get_triggerdef(t.oid) from pg_trigger t where not t.tgisinternal
union all select 'sequence', s.sequencename, s.data_type::text from pg_sequences s where s.schemaname = 'public'
union all select 'type', t.typname, t.typtype::text
    from pg_type t where t.typnamespace = 'public'::regnamespace and t.typtype in ('e', 'd', 'r')
union all select 'comment', d.objoid::text, d.description
    from pg_description d join pg_class c on c.oid = d.objoid where c.relnamespace = 'public'::regnamespace
order by 1, 2, 3
"""


def snapshot(url: str) -> list[tuple[object, ...]]:
    """All that migrations have made in a database; yoyo's own tables are left out."""
    return [row for row in ask(url, SNAPSHOT) if "yoyo" not in str(row)]
