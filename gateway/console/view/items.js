/** The entries of a transcript, each kind with its view: `{ element, update(item) }`. */

import { children, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { honest, oneLine } from "../text/plain.js";
import { Streamed } from "../text/streamed.js";
import { exactly, when } from "../text/times.js";
import { textOf } from "../model/updates.js";
import { blockView, json } from "./content.js";
import { copyButton } from "./copy.js";
import { noteView } from "./notes.js";
import { permissionView } from "./permission.js";
import { toolView } from "./tool.js";

/** An agent may say what no reader expects: then that entry alone is shown as it came. */
export function itemView(item) {
    const view = viewOf(item);
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

function viewOf(item) {
    switch (item.kind) {
        case "user":
            return userView(item);
        case "assistant":
            return assistantView();
        case "thought":
            return thoughtView();
        case "tool":
            return toolView();
        case "plan":
            return planView();
        case "permission":
            return permissionView();
        default:
            return noteView(item);
    }
}

/** A prompt of more lines than these is shown in part. */
const LONG_LINES = 10;
const LONG_CHARACTERS = 1200;

function userView(item) {
    const body = h("div.user-text");
    const more = h("button.quiet.small", {
        type: "button",
        hidden: true,
        on: { click: () => fold(!body.classList.contains("is-long")) },
    });
    const foot = h("div.user-foot", more, h("time", { datetime: item.at, title: exactly(item.at) }, when(item.at)));
    const element = h("article.item.user", { "aria-label": "Prompt" }, body, foot);
    function fold(yes) {
        body.classList.toggle("is-long", yes);
        text(more, yes ? "Show all" : "Show less");
    }
    const update = ({ content }) => {
        body.replaceChildren(
            ...content.map((block) =>
                block.type === "text" ? h("p", { dir: "auto" }, honest(block.text)) : blockView(block),
            ),
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
    const views = [];
    const update = (content, final) => {
        content.forEach((block, index) => {
            if (block.type !== "text" || typeof block.text !== "string") views[index] ??= { element: blockView(block) };
            else (views[index] ??= new Streamed()).show(block.text, final || index < content.length - 1);
        });
        if (element.childNodes.length !== views.length)
            children(element, views.map((view) => view.element).filter(Boolean));
    };
    return { element, update };
}

function assistantView() {
    const content = contentView();
    let item;
    const copy = copyButton("Copy as Markdown", () => textOf(item.content));
    const element = h("article.item.assistant", { "aria-label": "Agent" }, content.element, h("div.item-tools", copy));
    const update = (given) => {
        item = given;
        content.update(item.content, !item.turn.isRunning);
    };
    return { element, update };
}

function thoughtView() {
    const content = contentView();
    const gist = h("span.gist");
    const element = h(
        "details.item.thought",
        h("summary", icon("bulb"), h("span.label", "Thought"), gist),
        content.element,
    );
    let item;
    const show = () => element.open && content.update(item.content, !item.turn.isRunning);
    element.addEventListener("toggle", show);
    const update = (given) => {
        item = given;
        text(gist, oneLine(textOf(item.content).slice(-400), 160));
        show();
    };
    return { element, update };
}

const PLAN_MARKS = { completed: "check", in_progress: "chevron", pending: null };
const PLAN_WORDS = { completed: "done", in_progress: "under way", pending: "to do" };

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
    const update = ({ entries }) => {
        const done = entries.filter(({ status }) => status === "completed").length;
        text(sum, `${done} of ${entries.length}`);
        progress.max = Math.max(1, entries.length);
        progress.value = done;
        list.replaceChildren(...entries.map(planEntry));
    };
    return { element, update };
}

function planEntry({ content, status, priority }) {
    const known = status in PLAN_WORDS ? status : "pending";
    const mark = h("span.plan-mark", PLAN_MARKS[known] && icon(PLAN_MARKS[known]));
    const urgent = priority === "high" && known !== "completed" ? h("span.tag", "high") : null;
    return h(
        `li.plan-entry.${known}`,
        mark,
        h("span.unseen", `${PLAN_WORDS[known]}: `),
        h("bdi", oneLine(content ?? "", 500)),
        urgent,
    );
}
