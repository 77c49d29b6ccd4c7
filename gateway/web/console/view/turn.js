/** A turn: its entries, how it ended, and the picture of who waited for whom. */

import { Keyed, attribute, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { complain } from "./notices.js";
import { entryOf } from "../table.js";
import { oneLine } from "../text/plain.js";
import { duration } from "../text/times.js";
import { itemView } from "./items.js";
import { timelineView } from "./timeline.js";

/** @import { Turn } from "../model/turn.js" */
/** @import { Item } from "../types.js" */

const FAILURES = {
    auth_required: "The agent needs a connected account.",
    container_unreachable: "The prompt did not reach the container.",
    container_restarted: "The container restarted while the turn was running.",
    agent_died: "The agent's process ended.",
    agent_stopped: "The agent was stopped.",
    agent_unavailable: "The agent's program is not installed in the container.",
};
const OUTCOMES = { completed: "Done", cancelled: "Cancelled", failed: "Failed", stalled: "Stalled", lost: "Lost" };
const STOPS = {
    max_tokens: "the model's limit of tokens was reached",
    max_turn_requests: "the limit of requests was reached",
    refusal: "the agent refused",
};

/**
 * `session.recall(turn)` reads when somebody waited for whom, where that is not known yet; `session.connect()` lets one connect
 * in to its agent.
 *
 * @param {Turn} turn
 * @param {{ recall: (turn: Turn) => Promise<void>, connect: () => void }} session
 */
export function turnView(turn, session) {
    const list = h("div.turn-items");
    /** @type {Keyed<Item>} */
    const items = new Keyed(list, (item) => itemView(item));
    const state = h("span.turn-state");
    const reason = h("span.turn-reason");
    const picture = h("div.turn-picture");
    /** @type {HTMLButtonElement} */
    const toggle = h(
        "button.quiet.small",
        { type: "button", "aria-expanded": "false", on: { click: flip } },
        icon("clock"),
        "Timeline",
    );
    const connect = h(
        "button.small",
        { type: "button", hidden: true, on: { click: () => session.connect() } },
        icon("key"),
        "Connect an account",
    );
    const foot = h("footer.turn-foot", state, reason, connect, toggle);
    const element = h("section.turn", { "aria-label": "Turn" }, list, foot, picture);
    let current = turn;
    let isRecalled = false;
    function flip() {
        const open = toggle.getAttribute("aria-expanded") !== "true";
        attribute(toggle, "aria-expanded", String(open));
        draw();
    }
    async function draw() {
        if (toggle.getAttribute("aria-expanded") !== "true") {
            picture.replaceChildren();
            return;
        }
        if (!current.isWhole && !isRecalled) await recall();
        const isOpen = picture.querySelector("details")?.open;
        picture.replaceChildren(timelineView(current.record, current.isWhole));
        const asTable = picture.querySelector("details");
        if (asTable && isOpen) asTable.open = true;
    }
    async function recall() {
        isRecalled = true;
        if (!picture.hasChildNodes()) picture.append(h("p.about", { role: "status" }, "Reading what happened…"));
        try {
            await session.recall(current);
        } catch (problem) {
            complain("The turn's events could not be read", problem);
        }
    }
    /**
     * `touched`: entries that have changed; null where all may have.
     *
     * @param {Turn} given
     * @param {Set<Item | Turn> | null} touched
     */
    const update = (given, touched = null) => {
        current = given;
        /** @param {Item | Turn} one */
        const hasChanged = (one) => touched === null || touched.has(one);
        if (touched === null || touched.has(given)) items.show(given.items, ({ key }) => key, hasChanged);
        else for (const item of touched) if ("turn" in item && item.turn === given) items.get(item.key)?.update(item);
        // Its place is kept until it is known how the turn ended: what is read below does not move then.
        foot.hidden = !given.id;
        toggle.hidden = !given.startedAt;
        connect.hidden = given.failure !== "auth_required";
        text(state, given.isRunning ? "Running" : summary(given));
        state.className = `turn-state ${given.isRunning ? "running" : (given.outcome ?? "")}`;
        text(reason, given.isRunning ? "" : reasonOf(given));
        if (touched?.has(given)) draw();
    };
    return { element, update };
}

/** @param {Turn} turn */
function summary({ outcome, startedAt, endedAt }) {
    const word = entryOf(OUTCOMES, outcome) ?? oneLine(outcome ?? "", 40);
    if (!startedAt || !endedAt) return word;
    const took = duration(Date.parse(endedAt) - Date.parse(startedAt));
    return `${word} ${outcome === "completed" ? "in" : "after"} ${took}`;
}

/** @param {Turn} turn */
function reasonOf({ outcome, failure, message, stopReason }) {
    if (outcome === "completed") return entryOf(STOPS, stopReason) ?? "";
    if (outcome === "cancelled" && !message) return "";
    return oneLine(message ?? entryOf(FAILURES, failure) ?? failure ?? "", 400);
}
