/** The entries of a transcript, each kind with its view: `{ element, update(item) }`. */

import { children, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { entryOf } from "../table.js";
import { honest, oneLine } from "../text/plain.js";
import { Streamed } from "../text/streamed.js";
import { exactly, when } from "../text/times.js";
import { isObject, isText, textOf, toolCallIdOf } from "../model/updates.js";
import { blockView, json } from "./content.js";
import { copyButton } from "./copy.js";
import { noteView } from "./notes.js";
import { permissionView } from "./permission.js";
import { terminalView } from "./terminal.js";
import { toolView } from "./tool.js";

/** @import { ContentBlock, Filled, Item, NoteItem, PlanItem, TextItem, View } from "../types.js" */
/** @import { IconName } from "../icons.js" */

/**
 * An agent may say what no reader expects: then that entry alone is shown as it came.
 *
 * @param {Item} item
 * @returns {View<Item>}
 */
export function itemView(item) {
    const view = viewOf(item);
    /** @param {Item} given */
    const update = (given) => {
        try {
            view.update(given);
        } catch {
            const { turn, key, kind, ...said } = given;
            view.element.replaceChildren(json("What was said, and cannot be shown in its form", said));
        }
    };
    return { element: view.element, update };
}

/**
 * @param {Item} item
 * @returns {View<Item>}
 */
function viewOf(item) {
    switch (item.kind) {
        case "user":
            return userView(item);
        case "assistant":
            return assistantView(item);
        case "thought":
            return thoughtView(item);
        case "tool":
            return toolView();
        case "terminal":
            return terminalView();
        case "plan":
            return planView();
        case "permission":
            return permissionView();
        default:
            return item.type === "gap" ? gapView(item) : noteView(item);
    }
}

/**
 * A gap, with what the agent's own history had of it.
 *
 * @param {NoteItem} item
 * @returns {View<NoteItem>}
 */
function gapView(item) {
    const list = h("div.filled-items");
    const filled = h(
        "section.filled",
        { "aria-label": "Filled in", hidden: true },
        h("p.about", "This was filled in from the agent's own history:"),
        list,
    );
    const element = h("div.item.gap-item", noteView(item).element, filled);
    let shown = 0;
    /** @param {NoteItem} given */
    const update = (given) => {
        if (given.through === shown) return;
        shown = given.through;
        filled.hidden = false;
        const parts = Array.isArray(given.filled) ? given.filled.map((one, index) => partOf(given, one, index)) : null;
        list.replaceChildren(...(parts?.map(shownPart) ?? [json("What was filled in", given.filled)]));
    };
    return { element, update };
}

/** @param {Item} part */
function shownPart(part) {
    const view = itemView(part);
    view.update(part);
    return view.element;
}

/**
 * What was filled in as an entry like others.
 *
 * @param {NoteItem} gap
 * @param {Filled} filled
 * @param {number} key
 * @returns {Item}
 */
function partOf({ at, updatedAt, turn }, filled, key) {
    const common = { key, at, updatedAt, turn };
    if (filled.role === "tool")
        return { ...common, kind: "tool", id: toolCallIdOf(filled.toolCall), toolCall: filled.toolCall };
    return { ...common, kind: filled.role, messageId: filled.messageId ?? null, content: filled.content };
}

/** A prompt of more lines than these is shown in part. */
const LONG_LINES = 10;
const LONG_CHARACTERS = 1200;

/**
 * @param {TextItem} item
 * @returns {View<TextItem>}
 */
function userView(item) {
    const body = h("div.user-text");
    const more = h("button.quiet.small", {
        type: "button",
        hidden: true,
        on: { click: () => fold(!body.classList.contains("is-long")) },
    });
    const author = item.author ? h("bdi.author", oneLine(item.author, 80)) : null;
    const foot = h("div.user-foot", more, author, h("time", { datetime: item.at, title: exactly(item.at) }, when(item.at)));
    const element = h("article.item.user", { "aria-label": "Prompt" }, body, foot);
    /** @param {boolean} yes */
    function fold(yes) {
        body.classList.toggle("is-long", yes);
        text(more, yes ? "Show all" : "Show less");
    }
    /** @param {TextItem} item */
    const update = ({ content }) => {
        body.replaceChildren(
            ...content.map((block) => (isText(block) ? h("p", { dir: "auto" }, honest(block.text)) : blockView(block))),
        );
        const said = textOf(content);
        if (said.length <= LONG_CHARACTERS && said.split("\n").length <= LONG_LINES) return;
        more.hidden = false;
        fold(true);
    };
    return { element, update };
}

/** The blocks of a message in order: text that grows, and others that are there at once. */
function contentView() {
    const element = h("div.blocks");
    /** @type {(Streamed | { element: HTMLElement })[]} */
    const views = [];
    /**
     * @param {ContentBlock[]} content
     * @param {boolean} final
     */
    const update = (content, final) => {
        content.forEach((block, index) => {
            const view = (views[index] ??= isText(block) ? new Streamed() : { element: blockView(block) });
            if (isText(block) && view instanceof Streamed) view.show(block.text, final || index < content.length - 1);
        });
        if (element.childNodes.length !== views.length)
            children(
                element,
                views.map((view) => view.element),
            );
    };
    return { element, update };
}

/**
 * @param {TextItem} item
 * @returns {View<TextItem>}
 */
function assistantView(item) {
    const content = contentView();
    let shown = item;
    const copy = copyButton("Copy as Markdown", () => textOf(shown.content));
    const element = h("article.item.assistant", { "aria-label": "Agent" }, content.element, h("div.item-tools", copy));
    /** @param {TextItem} given */
    const update = (given) => {
        shown = given;
        content.update(shown.content, !shown.turn.isRunning);
    };
    return { element, update };
}

/**
 * @param {TextItem} item
 * @returns {View<TextItem>}
 */
function thoughtView(item) {
    const content = contentView();
    const gist = h("span.gist");
    const element = h(
        "details.item.thought",
        h("summary", icon("bulb"), h("span.label", "Thought"), gist),
        content.element,
    );
    let shown = item;
    const show = () => element.open && content.update(shown.content, !shown.turn.isRunning);
    element.addEventListener("toggle", show);
    /** @param {TextItem} given */
    const update = (given) => {
        shown = given;
        text(gist, oneLine(textOf(shown.content).slice(-400), 160));
        show();
    };
    return { element, update };
}

/**
 * Each state of a plan's entry: its word, and its mark.
 *
 * @type {Record<string, [string, IconName?]>}
 */
const PLAN_STATES = { completed: ["done", "check"], in_progress: ["under way", "chevron"], pending: ["to do"] };

/** @returns {View<PlanItem>} */
function planView() {
    const sum = h("span.plan-sum");
    const progress = h("progress", { "aria-label": "Progress of the plan" });
    const list = h("ol.plan-entries");
    const element = h(
        "section.item.plan",
        { "aria-label": "Plan" },
        h("div.plan-head", icon("list"), h("span.label", "Plan"), sum, progress),
        list,
    );
    /** @param {PlanItem} item */
    const update = ({ entries }) => {
        const done = entries.filter((entry) => isObject(entry) && entry.status === "completed").length;
        text(sum, `${done} of ${entries.length}`);
        progress.max = Math.max(1, entries.length);
        progress.value = done;
        list.replaceChildren(...entries.map(planEntry));
    };
    return { element, update };
}

/** @param {unknown} entry */
function planEntry(entry) {
    const { content, status, priority } = isObject(entry) ? entry : { content: entry };
    const known = typeof status === "string" && entryOf(PLAN_STATES, status) ? status : "pending";
    const [word, name] = entryOf(PLAN_STATES, known) ?? ["to do"];
    const mark = h("span.plan-mark", name && icon(name));
    const urgent = priority === "high" && known !== "completed" ? h("span.tag", "high") : null;
    return h(
        `li.plan-entry.${known}`,
        mark,
        h("span.unseen", `${word}: `),
        h("bdi", oneLine(content ?? "", 500)),
        urgent,
    );
}
