/** Where prompts are written. What is half written survives a reload, in this browser. */

import { isPassing } from "../api.js";
import { attribute, h, text } from "../dom.js";
import { Draft } from "../draft.js";
import { icon } from "../icons.js";
import { oneLine } from "../text/plain.js";
import { complain } from "./notices.js";

/** @import { Project } from "../model/project.js" */
/** @import { KnownSession } from "../types.js" */

const TOUCH = matchMedia("(pointer: coarse)");
const MOST_HEIGHT = 0.4;

export class Composer {
    #project;
    #session;
    #draft;
    #box;
    #send;
    #cancel;
    #hint = h("span.composer-hint");
    #queue = h("ul.queue", { "aria-label": "Prompts that wait" });
    /** @type {Map<string, HTMLElement>} */
    #prompts = new Map();
    #sending = false;

    /**
     * @param {Project} project
     * @param {KnownSession} session
     * @param {() => void} onSent
     */
    constructor(project, session, onSent) {
        this.#project = project;
        this.#session = session;
        this.#draft = new Draft(project.id, session.id);
        this.onSent = onSent;
        this.#box = h("textarea", {
            rows: 1,
            id: "prompt",
            "aria-label": "Prompt",
            placeholder: "Write a prompt",
            enterkeyhint: TOUCH.matches ? "enter" : "send",
            value: this.#draft.text,
            on: { input: () => this.#typed(), keydown: (event) => this.#pressed(event) },
        });
        this.#send = h(
            "button.primary.send",
            { type: "button", on: { click: () => this.#submit() } },
            icon("send"),
            h("span", "Send"),
        );
        this.#cancel = h(
            "button.stop",
            { type: "button", on: { click: () => this.#stop() } },
            icon("stop"),
            h("span", "Stop"),
        );
        const buttons = h("div.composer-buttons", this.#cancel, this.#send);
        this.element = h(
            "form.composer",
            { "aria-label": "Prompt", on: { submit: (event) => event.preventDefault() } },
            this.#queue,
            h("div.composer-box", this.#box, buttons),
            this.#hint,
        );
        // Its width changes with the buttons beside it, and with it the lines that its text takes.
        new ResizeObserver(() => this.#grow()).observe(this.element);
        new ResizeObserver(() => this.#grow()).observe(buttons);
        this.update(session);
    }

    focus() {
        this.#box.focus();
    }

    /** @param {KnownSession} session */
    update(session) {
        this.#session = session;
        const running = session.status === "running";
        const ended = session.status === "ended";
        const mayWork = this.#project.mayWork;
        this.#cancel.hidden = !running || !mayWork;
        attribute(this.#cancel, "aria-disabled", session.isCancelling && "true");
        text(this.#cancel.lastChild, session.isCancelling ? "Stopping…" : "Stop");
        text(this.#send.lastChild, running || session.queue.length ? "Queue" : "Send");
        this.#box.disabled = ended || !mayWork;
        this.#send.hidden = ended || !mayWork;
        text(this.#hint, hintFor(session, mayWork, running));
        this.#showQueue(session.queue);
    }

    #typed() {
        this.#draft.write(this.#box.value);
        this.#grow();
    }

    #grow() {
        this.#box.style.height = "auto";
        this.#box.style.height = `${Math.min(this.#box.scrollHeight + 2, innerHeight * MOST_HEIGHT)}px`;
    }

    /** @param {KeyboardEvent} event */
    #pressed(event) {
        if (event.key !== "Enter" || event.isComposing) return;
        const sends = event.ctrlKey || event.metaKey || (!event.shiftKey && !event.altKey && !TOUCH.matches);
        if (!sends) return;
        event.preventDefault();
        this.#submit();
    }

    async #submit() {
        const prompt = this.#box.value;
        if (!prompt.trim() || this.#sending) return;
        this.#sending = true;
        attribute(this.#send, "aria-disabled", "true");
        this.#box.readOnly = true;
        try {
            await this.#project.calls.prompt(this.#session.id, prompt, this.#draft.keyFor(prompt));
            this.#draft.settle();
            // Only what was sent goes: it stays in the box until the gateway has it.
            this.#box.value = "";
            this.#typed();
            this.onSent();
        } catch (problem) {
            if (!isPassing(problem)) this.#draft.settle();
            complain("The prompt was not taken", problem);
        } finally {
            this.#sending = false;
            this.#box.readOnly = false;
            attribute(this.#send, "aria-disabled", null);
        }
    }

    async #stop(turnId = this.#session.turn?.id) {
        try {
            await this.#project.calls.cancel(this.#session.id, turnId);
        } catch (problem) {
            complain("The turn was not stopped", problem);
        }
    }

    /** @param {string[]} ids */
    #showQueue(ids) {
        this.#queue.hidden = !ids.length;
        for (const id of this.#prompts.keys()) if (!ids.includes(id)) this.#prompts.delete(id);
        const shown = ids.map((id) => {
            const element = this.#prompts.get(id) ?? this.#waiting(id);
            this.#prompts.set(id, element);
            return element;
        });
        this.#queue.replaceChildren(...shown);
    }

    /** @param {string} id */
    #waiting(id) {
        const shown = h("bdi", "…");
        this.#project.calls.turn(this.#session.id, id).then(
            ({ prompt }) =>
                text(shown, oneLine((prompt ?? []).map((block) => block.text ?? `(${block.type})`).join(" "), 200)),
            () => {},
        );
        const take = h(
            "button.icon-button",
            {
                type: "button",
                "aria-label": "Take out of the queue",
                title: "Take out of the queue",
                on: { click: () => this.#stop(id) },
            },
            icon("cross"),
        );
        return h("li", icon("clock"), h("span.queue-text", shown), this.#project.mayWork ? take : null);
    }
}

/**
 * @param {KnownSession} session
 * @param {boolean} mayWork
 * @param {boolean} running
 */
function hintFor(session, mayWork, running) {
    if (session.status === "ended") return "This session has ended. It can be read, and takes no more prompts.";
    if (!mayWork) return "Your role in this project lets you read.";
    if (TOUCH.matches) return "";
    return running
        ? "Enter queues the prompt for when this turn is over"
        : "Enter sends, Shift+Enter begins a new line";
}
