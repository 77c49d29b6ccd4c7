/** Whether what is shown is what is: live, catching up, or away. */

import { h, text } from "../dom.js";
import { announce } from "./notices.js";

const STATES = {
    connecting: ["Connecting", "The event stream is being opened."],
    "catching-up": ["Catching up", "What happened meanwhile is being read."],
    live: ["Live", "Each event is shown as it is stored."],
    away: ["Away", "The event stream is broken. It is tried again by itself, and goes on where it was."],
    closed: ["Closed", "The gateway does not let this be read any more."],
};

export class StreamBadge {
    #word = h("span");
    element = h(
        "span.stream-badge",
        h("span.dot", { "aria-hidden": "true" }),
        h("span.unseen", "Event stream: "),
        this.#word,
    );

    show(state) {
        const [word, meaning] = STATES[state];
        if (this.element.dataset.state === state) return;
        if (state === "away") announce("The connection to the gateway is broken; it is tried again.");
        else if (this.element.dataset.state === "away") announce("The connection to the gateway is back.");
        this.element.dataset.state = state;
        this.element.title = meaning;
        text(this.#word, word);
    }
}
