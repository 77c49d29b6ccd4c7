/** What happens beside what is said: gaps, restarts, warnings. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { isObject } from "../model/updates.js";
import { entryOf } from "../table.js";
import { honest, oneLine } from "../text/plain.js";
import { duration, exactly, when } from "../text/times.js";
import { json } from "./content.js";
import { changeView } from "./diff.js";

/** @import { IconName } from "../icons.js" */
/** @import { Foreign, NoteItem, View } from "../types.js" */
/** @typedef {"gap" | "warning" | "quiet" | "unknown"} NoteKind */
/** @typedef {(data: Foreign) => [NoteKind, string]} Sentence */

const GAPS = {
    container_restarted: "The container restarted. What it said in between is lost.",
    stream_interrupted: "The connection to the container broke, and it keeps nothing: what it said meanwhile is lost.",
    restored_from_backup: "The gateway's database was restored from a backup. What came after that is lost.",
    skipped: "The container no longer has what comes next.",
    agent_output: "The agent wrote something that cannot be read.",
    oversized: "An event was larger than the gateway takes.",
    not_storable: "An event could not be stored.",
    unnumbered: "The container sent events without a new number.",
    spool_full: "The database was away for longer than could be kept.",
    spool_damaged: "What was kept while the database was away came back changed.",
};
const RESTORED = {
    container_restarted: "the container had restarted",
    container_forgot: "the container had forgotten it",
    agent_restarted: "the agent had restarted",
    credential_renewed: "its credential had been renewed",
};

/**
 * Each type of event: its kind of line, and its sentence.
 *
 * @type {Record<string, Sentence>}
 */
const NOTES = {
    gap: ({ reason, count, message }) => {
        const why = entryOf(GAPS, reason) ?? oneLine(reason ?? "");
        const known = `${count ? ` (${count} events)` : ""}${message ? ` ${oneLine(message)}` : ""}`;
        return ["gap", `Something is missing here. ${why}${known}`];
    },
    session_restored: ({ how, reason, forgotten, message }) => {
        const why = entryOf(RESTORED, reason) ?? oneLine(reason ?? "nobody knows why");
        const gone = listOf(forgotten).includes("mcpServers") ? " Its MCP servers are gone." : "";
        if (how !== "new") return ["quiet", `The session was taken up again, as ${why}.${gone}`];
        const said = message ? ` ${oneLine(message)}` : "";
        return ["gap", `The session began anew, as ${why}: the agent remembers nothing of what stands above.${said}`];
    },
    session_renamed: ({ title, formerTitle, renamedBy }) => {
        const change = title ? `calls the session “${oneLine(title)}”` : "takes the session's title away";
        const before = formerTitle ? ` It was called “${oneLine(formerTitle)}”.` : "";
        return ["quiet", `${oneLine(renamedBy ?? "Somebody")} ${change}.${before}`];
    },
    session_cleared: ({ clearedBy }) => ["quiet", `${oneLine(clearedBy ?? "Somebody")} cleared the history before this.`],
    session_ended: ({ endedBy }) => ["quiet", `The session was ended${endedBy ? ` by ${oneLine(endedBy)}` : ""}.`],
    turn_cancelling: ({ requestedBy }) => ["quiet", `${oneLine(requestedBy ?? "Somebody")} wants this turn to stop.`],
    turn_stalling: ({ silentFor, endsAfter }) => [
        "warning",
        `The agent has said nothing for ${seconds(silentFor)}. After ${seconds(endsAfter)} the turn is ended.`,
    ],
    agent_stopping: ({ agentId, otherTurns }) => [
        "warning",
        `The agent ${oneLine(agentId ?? "")} did not hear the cancel and is stopped.${others(listOf(otherTurns))}`,
    ],
    auth_required: () => ["warning", "The agent needs a connected account."],
    auth_complete: () => ["quiet", "Somebody connected an account to the agent."],
    file_read: ({ path, size }) => ["quiet", `The agent read ${oneLine(path ?? "a file", 300)}${bytes(size)}.`],
    file_written: ({ path, size, omitted }) => [
        "quiet",
        `The agent wrote ${oneLine(path ?? "a file", 300)}${bytes(size)}.${unseen(listOf(omitted))}`,
    ],
    permission_resolved: ({ outcome }) => ["quiet", `A permission request was settled: ${oneLine(outcome ?? "")}.`],
};
/**
 * The same for each kind of an agent's updates.
 *
 * @type {Record<string, Sentence>}
 */
const UPDATES = {
    current_mode_update: ({ currentModeId }) => ["quiet", `The agent's mode is now ${oneLine(currentModeId ?? "")}.`],
};
const UPDATE = "session_update";
/** @type {Record<NoteKind, IconName>} */
const ICONS = { gap: "warning", warning: "warning", quiet: "clock", unknown: "question" };

/**
 * @param {NoteItem} item
 * @returns {View<unknown>}
 */
export function noteView({ type, at, data }) {
    const known = sentenceOf(type, data);
    const time = h("time", { datetime: at, title: exactly(at) }, when(at));
    if (type === "file_written" && known) return writtenView(known[1], time, saidIn(type, data));
    const element = known
        ? h(`p.item.note.${known[0]}`, icon(ICONS[known[0]]), h("span", honest(known[1])), time)
        : h(
              "details.item.note.unknown",
              h("summary", icon(ICONS.unknown), h("bdi", oneLine(titleOf(type, data), 80)), time),
              json("What was said", data),
          );
    return { element, update() {} };
}

/**
 * A change of a file, which is shown on demand: as a rule its tool call has shown it.
 *
 * @param {string} sentence
 * @param {HTMLElement} time
 * @param {Foreign} change
 * @returns {View<unknown>}
 */
function writtenView(sentence, time, change) {
    const diff = listOf(change.omitted).length ? null : changeView(change);
    const said = [icon("pencil"), h("span", honest(sentence)), time];
    const element = diff ? h("details.item.note.change", h("summary", said), diff) : h("p.item.note.quiet", said);
    return { element, update() {} };
}

/**
 * The sentence of a note; null where none is known. An agent's own words are never taken for the gateway's.
 *
 * @param {NoteItem["type"]} type
 * @param {unknown} data
 */
function sentenceOf(type, data) {
    const said = saidIn(type, data);
    const sentence = type === UPDATE ? entryOf(UPDATES, said.sessionUpdate) : entryOf(NOTES, type);
    return sentence ? sentence(said) : null;
}

/**
 * @param {NoteItem["type"]} type
 * @param {unknown} data
 */
function titleOf(type, data) {
    const said = saidIn(type, data);
    return type === UPDATE
        ? `The agent says: ${oneLine(said.sessionUpdate ?? "something")}`
        : `The container says: ${oneLine(said.event ?? type)}`;
}

/**
 * What an event says; of an agent's update that itself.
 *
 * @param {NoteItem["type"]} type
 * @param {unknown} data
 * @returns {Foreign}
 */
function saidIn(type, data) {
    const said = type === UPDATE && isObject(data) ? data.update : data;
    return isObject(said) ? said : {};
}

/** @param {unknown} value */
function seconds(value) {
    return duration(Number(value) * 1000);
}

/**
 * @param {unknown} value
 * @returns {unknown[]}
 */
function listOf(value) {
    return Array.isArray(value) ? value : [];
}

/** @param {unknown} size */
function bytes(size) {
    return typeof size === "number" ? ` (${size.toLocaleString()} bytes)` : "";
}

/** @param {unknown[]} omitted */
function unseen(omitted) {
    return omitted.length ? " What has changed is too large to be shown, or is no text." : "";
}

/** @param {unknown[]} turns */
function others(turns) {
    return turns.length ? ` ${turns.length} other turns end with it.` : "";
}
