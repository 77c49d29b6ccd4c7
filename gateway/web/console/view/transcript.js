/** The transcript of a session: grows at its end while it streams, and at its beginning as one scrolls up. */

import { Keyed, h, inNextFrame, text } from "../dom.js";
import { icon } from "../icons.js";
import { complain } from "./notices.js";
import { Scroller } from "./scroller.js";
import { openConnect } from "./connect.js";
import { turnView } from "./turn.js";

/** @import { Project } from "../model/project.js" */
/** @import { Transcript } from "../model/transcript.js" */
/** @import { Turn } from "../model/turn.js" */
/** @import { Item, KnownSession, View } from "../types.js" */

/** How far above the edge older messages are asked for. */
const AHEAD = "600px 0px 0px 0px";
const TURNS_ASKED_AT_ONCE = 3;

export class TranscriptView {
    #project;
    #session;
    #transcript;
    #list = h("div.turns");
    /** @type {Keyed<Turn>} */
    #turns;
    #edge = h("p.edge");
    #scroller;
    #jump;
    #loading = false;
    /** @type {Set<Item | Turn>} */
    #touched = new Set();
    /** @type {Set<Item | Turn> | null} */
    #latest = null;
    /**
     * The turns as they were shown last: others where an earlier one was put before them.
     *
     * @type {Turn[]}
     */
    #shown = [];
    #watcher;
    /**
     * Turns whose end is asked for as soon as they are seen.
     *
     * @type {WeakMap<Element, Turn>}
     */
    #unended = new WeakMap();
    /** @type {Set<string | null>} */
    #asked = new Set();
    #asking = 0;
    /** @type {Turn[]} */
    #queue = [];
    refresh = inNextFrame(() => this.#show());

    /**
     * @param {Project} project
     * @param {KnownSession} session
     * @param {Transcript} transcript
     */
    constructor(project, session, transcript) {
        this.#project = project;
        this.#session = session;
        this.#transcript = transcript;
        this.#turns = new Keyed(this.#list, (turn) => this.#turn(turn));
        const content = h("div.transcript-content", this.#edge, this.#list);
        this.#jump = h(
            "button.jump",
            { type: "button", hidden: true, on: { click: () => this.toEnd() } },
            icon("chevron"),
            "Latest",
        );
        this.box = h("div.transcript", { role: "region", tabindex: 0, "aria-label": "Transcript" }, content);
        this.element = h("div.transcript-frame", this.box, this.#jump);
        this.#scroller = new Scroller(this.box, content, (follows) => (this.#jump.hidden = follows));
        this.#watcher = new IntersectionObserver((seen) => this.#seen(seen), { root: this.box, rootMargin: AHEAD });
        this.#watcher.observe(this.#edge);
        this.#show();
    }

    close() {
        this.#watcher.disconnect();
    }

    toEnd() {
        this.#scroller.toEnd();
    }

    #show() {
        for (const touched of this.#transcript.takeTouched()) this.#touched.add(touched);
        const touched = (this.#latest = this.#touched);
        this.#touched = new Set();
        const affected = new Set([...touched].map((one) => ("turn" in one ? one.turn : one)));
        const { turns, earlier } = this.#transcript;
        const hasOthers = this.#shown !== turns || this.#list.childElementCount !== turns.length;
        if (hasOthers) this.#turns.show(turns, keyOf, (turn) => affected.has(turn));
        else for (const turn of affected) this.#turns.get(turn.key)?.update(turn);
        this.#shown = turns;
        text(this.#edge, earlier ? "Loading earlier messages…" : turns.length ? "The beginning of this session" : "");
        this.#edge.classList.toggle("is-beginning", !earlier);
        this.#scroller.settle();
    }

    /**
     * @param {Turn} turn
     * @returns {View<Turn>}
     */
    #turn(turn) {
        const view = turnView(turn, {
            recall: (one) => this.#project.recall(this.#session.id, one),
            connect: () => this.#connect(),
        });
        let isNew = true;
        /** @param {Turn} given */
        const update = (given) => {
            view.update(given, isNew ? null : this.#latest);
            isNew = false;
        };
        if (turn.id && !turn.outcome) {
            this.#unended.set(view.element, turn);
            this.#watcher.observe(view.element);
        }
        return { element: view.element, update };
    }

    async #connect() {
        const { agentId } = this.#session;
        await openConnect(this.#project.agents.get(agentId)?.name ?? agentId, this.#project.calls.auth(agentId));
        this.#project.agents.read();
    }

    /** @param {IntersectionObserverEntry[]} entries */
    #seen(entries) {
        for (const { target, isIntersecting } of entries) {
            if (!isIntersecting) continue;
            if (target === this.#edge) this.#loadEarlier();
            else this.#askHowItEnded(target);
        }
    }

    async #loadEarlier() {
        if (this.#loading || !this.#transcript.earlier) return;
        this.#loading = true;
        try {
            await this.#project.loadEarlier(this.#session.id);
            this.#scroller.keepingPlace(() => this.#show());
            // Where the page before fits into what is seen, the edge does not leave it, and is not seen again by itself.
            this.#watcher.unobserve(this.#edge);
            this.#watcher.observe(this.#edge);
        } catch (problem) {
            complain("Earlier messages could not be loaded", problem);
        } finally {
            this.#loading = false;
        }
    }

    /**
     * History says how a turn ended that did not complete, and not when the others did: that is asked once they are seen.
     *
     * @param {Element} element
     */
    #askHowItEnded(element) {
        const turn = this.#unended.get(element);
        if (!turn || turn.outcome || turn.isRunning || this.#asked.has(turn.id)) return;
        this.#watcher.unobserve(element);
        this.#asked.add(turn.id);
        this.#queue.push(turn);
        this.#askNext();
    }

    async #askNext() {
        if (this.#asking >= TURNS_ASKED_AT_ONCE) return;
        const turn = this.#queue.pop();
        if (!turn?.id) return;
        this.#asking += 1;
        try {
            turn.learn(await this.#project.calls.turn(this.#session.id, turn.id));
            this.#touched.add(turn);
            this.refresh();
        } catch {
            this.#asked.delete(turn.id);
        } finally {
            this.#asking -= 1;
            this.#askNext();
        }
    }
}

/** @param {Turn} turn */
function keyOf({ key }) {
    return key;
}
