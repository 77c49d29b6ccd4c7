/** Who waited for whom in a turn: pure, from its record. */

/** @typedef {{ from: number, to: number }} Span In milliseconds. */
/** @typedef {{ from: number, to: number | null }} OpenSpan */
/** @typedef {Span & { what: unknown }} NamedSpan */
/** @typedef {{ who: string, label: string, total: number, spans: NamedSpan[], marks: Span[] }} Lane */

/**
 * What a turn is measured by.
 *
 * @typedef {object} TurnRecord
 * @property {number | null} from
 * @property {number | null} to
 * @property {number[]} heard
 * @property {(OpenSpan & { title: unknown, kind: unknown })[]} tools
 * @property {OpenSpan[]} permissions
 */

/** Words of an agent's that are no further apart are one stretch. */
const JOINED_MS = 400;

/**
 * How long it took, and a lane for each of whom was waited for; times are from the turn's beginning.
 *
 * What waits for a person waits for nobody else; what then waits for a tool does not wait for the agent; the rest is the
 * agent's, which thinks or says something.
 *
 * @param {TurnRecord} record
 * @param {number} now
 * @returns {{ length: number, lanes: Lane[] }}
 */
export function timeline(record, now) {
    const begin = record.from ?? now;
    const end = Math.max(record.to ?? now, begin);
    /**
     * @param {OpenSpan} span
     * @param {unknown} what
     * @returns {NamedSpan}
     */
    const clip = ({ from, to }, what) => ({
        what,
        from: clamp(from, begin, end) - begin,
        to: clamp(to ?? end, begin, end) - begin,
    });
    const person = record.permissions.map((one) => clip(one, "a permission"));
    const tools = record.tools.map((one) => clip(one, one.title ?? one.kind ?? "a tool"));
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

/**
 * @param {number[]} heard
 * @param {number} begin
 * @param {number} end
 */
function said(heard, begin, end) {
    /** @type {Span[]} */
    const spans = [];
    for (const at of heard) {
        const place = clamp(at, begin, end) - begin;
        const last = spans.at(-1);
        if (last && place - last.to <= JOINED_MS) last.to = place;
        else spans.push({ from: place, to: place });
    }
    return spans;
}

/** @param {Span[]} spans */
function union(spans) {
    /** @type {Span[]} */
    const joined = [];
    for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
        const last = joined.at(-1);
        if (last && from <= last.to) last.to = Math.max(last.to, to);
        else joined.push({ from, to });
    }
    return joined;
}

/**
 * What of `spans` none of `taken` covers; both are in order and do not overlap among themselves.
 *
 * @param {Span[]} spans
 * @param {Span[]} taken
 */
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

/** @param {Span[]} spans */
function sum(spans) {
    return spans.reduce((total, { from, to }) => total + to - from, 0);
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function clamp(value, low, high) {
    return Math.min(Math.max(value, low), high);
}
