/** Events as the models take them. */

/** @import { LogEvent, SaidEvent } from "../types.js" */

/**
 * The number in a cursor.
 *
 * @param {string} cursor
 */
export function seqOf(cursor) {
    return Number(cursor.split("-").at(-1));
}

/**
 * An event with all its members, and its number.
 *
 * @param {SaidEvent} event
 * @returns {LogEvent}
 */
export function complete(event) {
    return { sessionId: null, turnId: null, agentId: null, ...event, seq: seqOf(event.id) };
}
