/** Whether what is shown is what is: live, catching up, or away. */

import { h, text } from "../dom.js";
import { entryOf } from "../table.js";
import { announce } from "./notices.js";

/** @import { StreamState } from "../acp-gateway.js" */

/** @type {Record<StreamState, [string, string]>} */
const STATES = {
    connecting: ["Connecting", "The event stream is being opened."],
    "catching-up": ["Catching up", "What happened meanwhile is being read."],
    live: ["Live", "Each event is shown as it is stored."],
    resting: ["Resting", "Nobody looked at this tab. What happened meanwhile is read now."],
    away: ["Away", "The event stream is broken. It is tried again by itself, and goes on where it was."],
    closed: ["Closed", "The gateway does not let this be read any more."],
};

const RESETS = {
    other_epoch: "the log was restored from a backup, or the project was made anew",
    lost_in_failover: "the database was failed over, and what was shown last is lost",
    beyond_head: "the log is shorter than it was",
    no_longer_kept: "what comes next is no longer kept",
    unreadable_cursor: "the place to go on from was none",
    events_missing: "events were lost on their way",
};

/**
 * What is said when all that is shown was read again.
 *
 * @param {string} reason
 */
export function sentenceForReset(reason) {
    return `The event stream began anew: ${entryOf(RESETS, reason) ?? reason}. Everything was read again.`;
}

export class StreamBadge {
    #word = h("span");
    #isBroken = false;
    #speaks;
    element = h(
        "span.stream-badge",
        h("span.dot", { "aria-hidden": "true" }),
        h("span.unseen", "Event stream: "),
        this.#word,
    );

    /** One of the page's `speaks`: to a screen reader. */
    constructor({ speaks = false } = {}) {
        this.#speaks = speaks;
    }

    /** @param {StreamState} state */
    show(state) {
        const [word, meaning] = STATES[state];
        if (this.element.dataset.state === state) return;
        if (this.#speaks) this.#announce(state);
        this.element.dataset.state = state;
        this.element.title = meaning;
        text(this.#word, word);
    }

    /**
     * Once for each time that it breaks, however often it is tried again.
     *
     * @param {StreamState} state
     */
    #announce(state) {
        if (state === "away" && !this.#isBroken)
            announce("The connection to the gateway is broken; it is tried again.");
        if (state === "live" && this.#isBroken) announce("The connection to the gateway is back.");
        this.#isBroken = state === "away" || (this.#isBroken && state !== "live");
    }
}
