/** What happens beside what is said: gaps, restarts, warnings. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { honest, oneLine } from "../text/plain.js";
import { duration, exactly, when } from "../text/times.js";
import { json } from "./content.js";

const GAPS = {
    container_restarted: "The container restarted. What it said in between is lost.",
    stream_interrupted: "The connection to the container broke, and it keeps nothing: what it said meanwhile is lost.",
    skipped: "The container no longer has what comes next.",
    oversized: "An event was larger than the gateway takes.",
    not_storable: "An event could not be stored.",
    spool_full: "The database was away for longer than could be kept.",
    spool_damaged: "What was kept while the database was away came back changed.",
};
const RESTORED = {
    container_restarted: "the container had restarted",
    container_forgot: "the container had forgotten it",
    agent_restarted: "the agent had restarted",
};

/** Each type of event: its kind of line, and its sentence. */
const NOTES = {
    gap: ({ reason, count }) => [
        "gap",
        `Something is missing here. ${GAPS[reason] ?? oneLine(reason ?? "")}${count ? ` (${count} events)` : ""}`,
    ],
    session_restored: ({ how, reason, forgotten, message }) => [
        how === "new" ? "gap" : "quiet",
        how === "new"
            ? `The session began anew, as ${RESTORED[reason] ?? reason}: the agent remembers nothing of what stands above.${message ? ` ${oneLine(message)}` : ""}`
            : `The session was taken up again, as ${RESTORED[reason] ?? reason}.${forgotten?.includes("mcpServers") ? " Its MCP servers are gone." : ""}`,
    ],
    session_ended: ({ endedBy }) => ["quiet", `The session was ended${endedBy ? ` by ${oneLine(endedBy)}` : ""}.`],
    turn_cancelling: ({ requestedBy }) => ["quiet", `${oneLine(requestedBy ?? "Somebody")} wants this turn to stop.`],
    turn_stalling: ({ silentFor, endsAfter }) => [
        "warning",
        `The agent has said nothing for ${duration(silentFor * 1000)}. After ${duration(endsAfter * 1000)} the turn is ended.`,
    ],
    agent_stopping: ({ agentId, otherTurns }) => [
        "warning",
        `The agent ${oneLine(agentId ?? "")} did not hear the cancel and is stopped.${otherTurns?.length ? ` ${otherTurns.length} other turns end with it.` : ""}`,
    ],
    auth_required: () => ["warning", "The agent needs a connected account."],
    auth_complete: () => ["quiet", "Somebody connected an account to the agent."],
    permission_resolved: ({ outcome }) => ["quiet", `A permission request was settled: ${oneLine(outcome ?? "")}.`],
};
/** The same for each kind of an agent's updates. */
const UPDATES = {
    current_mode_update: ({ currentModeId }) => ["quiet", `The agent's mode is now ${oneLine(currentModeId ?? "")}.`],
};
const UPDATE = "session_update";
const ICONS = { gap: "warning", warning: "warning", quiet: "clock", unknown: "question" };

export function noteView({ type, at, data }) {
    const known = sentenceOf(type, data);
    const [kind, sentence] = known ? known(data ?? {}) : ["unknown", null];
    const time = h("time", { datetime: at, title: exactly(at) }, when(at));
    const element = known
        ? h(`p.item.note.${kind}`, icon(ICONS[kind]), h("span", honest(sentence)), time)
        : h(
              "details.item.note.unknown",
              h("summary", icon(ICONS.unknown), h("bdi", oneLine(titleOf(type, data), 80)), time),
              json("What was said", data),
          );
    return { element, update() {} };
}

/** What makes the sentence of a note; nothing where none is known. An agent's own words are never those of the gateway. */
function sentenceOf(type, data) {
    const [table, name] = type === UPDATE ? [UPDATES, data?.sessionUpdate] : [NOTES, type];
    return typeof name === "string" && Object.hasOwn(table, name) ? table[name] : null;
}

function titleOf(type, data) {
    return type === UPDATE
        ? `The agent says: ${data?.sessionUpdate ?? "something"}`
        : `The container says: ${data?.event ?? type}`;
}
