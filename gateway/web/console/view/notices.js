/** What is said to everybody at the edge of the page, and to a screen reader alone. */

import { GatewayProblem } from "../acp-gateway.js";
import { byId, h } from "../dom.js";
import { icon } from "../icons.js";
import { entryOf } from "../table.js";
import { honest } from "../text/plain.js";

const PASSES_AFTER_MS = 8000;
const MOST = 4;

/** What somebody can do about an error, by its code. */
const HINTS = {
    unreachable: "Is the gateway running? Try again once it is: nothing that you wrote is lost.",
    timeout: "Try again: nothing that you wrote is lost, and no prompt is run twice.",
    upstream_refused: "Nothing listens at the project's container. Start it, or change the project's address.",
    upstream_unreachable: "The project's container does not answer. Is its address right, and is it running?",
    upstream_timeout: "The project's container is slow to answer. Try again.",
    agent_not_found: "The project's container offers no such agent.",
    auth_required: "Connect your account for the agent, then send the prompt again.",
    queue_full: "Wait for a queued prompt to begin, or take one out of the queue.",
    session_ended: "Begin a new session; this one can only be read.",
    insufficient_role: "Ask an admin of the project for a larger role.",
    address_taken: "Register a container of your own, or ask whoever runs the gateway.",
    project_creation_denied: "Ask whoever runs the gateway to register the container, or to let you do it.",
    token_limited: "Use an API token that is not limited to some projects.",
    database_unavailable: "What was sent is not lost: try again in a moment.",
    project_not_found: "It may have been removed, or you are no member of it.",
};

/** @param {unknown} problem */
export function hintFor(problem) {
    return (problem instanceof GatewayProblem && entryOf(HINTS, problem.code)) || null;
}

/**
 * What went wrong, in words.
 *
 * @param {unknown} problem
 */
export function messageOf(problem) {
    return honest(problem instanceof Error ? problem.message : String(problem));
}

/**
 * Tell what went wrong, and what can be done about it; it stays until it is put away.
 *
 * @param {string} what
 * @param {unknown} problem
 */
export function complain(what, problem) {
    const message = messageOf(problem);
    const hint = hintFor(problem);
    show("error", what, [message, hint === message ? null : hint]);
}

/**
 * Tell what is done; it goes by itself.
 *
 * @param {string} what
 */
export function mention(what) {
    const shown = show("info", what, []);
    setTimeout(() => shown.remove(), PASSES_AFTER_MS);
}

/**
 * Say it to a screen reader, once it has said what it says.
 *
 * @param {string} what
 */
export function announce(what) {
    byId("announcer").textContent = what;
}

/**
 * @param {"error" | "info"} kind
 * @param {string} what
 * @param {(string | null)[]} details
 */
function show(kind, what, details) {
    const region = byId("notices");
    /** @type {HTMLElement} */
    const notice = h(
        `div.notice.${kind}`,
        icon(kind === "error" ? "warning" : "check"),
        h(
            "div.notice-text",
            h("strong", honest(what)),
            details.map((detail) => detail && h("span", detail)),
        ),
        h(
            "button.icon-button",
            { type: "button", "aria-label": "Put away", on: { click: () => notice.remove() } },
            icon("cross"),
        ),
    );
    region.append(notice);
    while (region.children.length > MOST) region.firstElementChild?.remove();
    return notice;
}
