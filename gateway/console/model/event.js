/** Events as the models take them. */

/** The number in a cursor. */
export function seqOf(cursor) {
    return Number(String(cursor).split("-").at(-1));
}

/** An event with all its members, and its number. */
export function complete(event) {
    return { sessionId: null, turnId: null, agentId: null, ...event, seq: seqOf(event.id) };
}
