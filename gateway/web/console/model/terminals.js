/** Commands that run for agents, as their events tell of them: the same rules as in the gateway. */

/** @import { LogEvent, Terminal, TerminalEvent } from "../types.js" */

/**
 * @param {LogEvent} event
 * @returns {event is TerminalEvent}
 */
export function isTerminal(event) {
    return event.type === "terminal_started" || event.type === "terminal_output" || event.type === "terminal_ended";
}

/**
 * A command of which nothing was told.
 *
 * @param {string} terminalId
 * @returns {Terminal}
 */
export function unheard(terminalId) {
    return { terminalId, output: "", omittedBytes: 0, exitStatus: null, through: "0" };
}

/**
 * A command after the next event; one that is in it already changes nothing.
 *
 * @param {Terminal} terminal
 * @param {TerminalEvent} event
 * @returns {Terminal}
 */
export function heardIn(terminal, event) {
    if (event.seq <= Number(terminal.through)) return terminal;
    const known = { ...terminal, through: String(event.seq) };
    switch (event.type) {
        case "terminal_started":
            return { ...known, ...event.data };
        case "terminal_output":
            return written(known, event.data.text, event.data.omittedBytes ?? 0);
        default: {
            const { exitCode = null, signal = null } = event.data;
            return { ...known, exitStatus: { exitCode, signal } };
        }
    }
}

/**
 * @param {Terminal} terminal
 * @param {string} text
 * @param {number} omitted bytes before it that were not kept
 * @returns {Terminal}
 */
function written(terminal, text, omitted) {
    const omittedBytes = terminal.omittedBytes + omitted;
    if (!omittedBytes) return { ...terminal, output: terminal.output + text };
    return { ...terminal, omittedBytes, outputEnd: (terminal.outputEnd ?? "") + text };
}
