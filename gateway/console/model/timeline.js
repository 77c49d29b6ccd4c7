/** Who waited for whom in a turn: pure, from its record. */

/** Words of an agent's that are no further apart are one stretch. */
const JOINED_MS = 400;

/**
 * `{ from, to, lanes: [{ who, total, spans: [{ from, to, what }] }] }`, times in milliseconds from the turn's beginning.
 *
 * What waits for a person waits for nobody else; what then waits for a tool does not wait for the agent; the rest is the
 * agent's, which thinks or says something.
 */
export function timeline(record, now) {
    const begin = record.from;
    const end = Math.max(record.to ?? now, begin);
    const clip = ({ from, to, ...rest }) => ({
        ...rest,
        from: clamp(from, begin, end) - begin,
        to: clamp(to ?? end, begin, end) - begin,
    });
    const person = record.permissions.map((one) => clip({ ...one, what: "a permission" }));
    const tools = record.tools.map((one) => clip({ ...one, what: one.title ?? one.kind ?? "a tool" }));
    const asked = union(person);
    const worked = without(union(tools), asked);
    const rest = without([{ from: 0, to: end - begin }], union([...person, ...tools]));
    return {
        length: end - begin,
        lanes: [
            {
                who: "agent",
                label: "Agent",
                total: sum(rest),
                spans: rest.map((span) => ({ ...span, what: "thinks and writes" })),
                marks: said(record.heard, begin, end),
            },
            { who: "tool", label: "Tools", total: sum(worked), spans: tools, marks: [] },
            { who: "permission", label: "Permissions", total: sum(asked), spans: person, marks: [] },
        ],
    };
}

function said(heard, begin, end) {
    const spans = [];
    for (const at of heard) {
        const place = clamp(at, begin, end) - begin;
        const last = spans.at(-1);
        if (last && place - last.to <= JOINED_MS) last.to = place;
        else spans.push({ from: place, to: place });
    }
    return spans;
}

function union(spans) {
    const joined = [];
    for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
        const last = joined.at(-1);
        if (last && from <= last.to) last.to = Math.max(last.to, to);
        else joined.push({ from, to });
    }
    return joined;
}

/** What of `spans` none of `taken` covers; both are in order and do not overlap among themselves. */
function without(spans, taken) {
    let left = spans;
    for (const { from, to } of taken) {
        left = left
            .flatMap((span) => [
                { from: span.from, to: Math.min(span.to, from) },
                { from: Math.max(span.from, to), to: span.to },
            ])
            .filter((span) => span.to > span.from);
    }
    return left;
}

function sum(spans) {
    return spans.reduce((total, { from, to }) => total + to - from, 0);
}

function clamp(value, low, high) {
    return Math.min(Math.max(value, low), high);
}
