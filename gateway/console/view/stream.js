/** Whether what is shown is what is: live, catching up, or away. */

import { h, text } from "../dom.js";
import { announce } from "./notices.js";

const STATES = {
    connecting: ["Connecting", "The event stream is being opened."],
    "catching-up": ["Catching up", "What happened meanwhile is being read."],
    live: ["Live", "Each event is shown as it is stored."],
    resting: ["Resting", "Nobody looked at this tab. What happened meanwhile is read now."],
    away: ["Away", "The event stream is broken. It is tried again by itself, and goes on where it was."],
    closed: ["Closed", "The gateway does not let this be read any more."],
};

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

    show(state) {
        const [word, meaning] = STATES[state];
        if (this.element.dataset.state === state) return;
        if (this.#speaks) this.#announce(state);
        this.element.dataset.state = state;
        this.element.title = meaning;
        text(this.#word, word);
    }

    /** Once for each time that it breaks, however often it is tried again. */
    #announce(state) {
        if (state === "away" && !this.#isBroken) announce("The connection to the gateway is broken; it is tried again.");
        if (state === "live" && this.#isBroken) announce("The connection to the gateway is back.");
        this.#isBroken = state === "away" || (this.#isBroken && state !== "live");
    }
}
