/** A tool call: what it is, how it stands, what went in and what came out. */

import { h, text } from "../dom.js";
import { icon } from "../icons.js";
import { Elsewhere } from "../model/elsewhere.js";
import { isObject } from "../model/updates.js";
import { entryOf } from "../table.js";
import { oneLine } from "../text/plain.js";
import { json, plain, toolContentView } from "./content.js";

/** @import { IconName } from "../icons.js" */
/** @import { Foreign, ToolCall, ToolItem, View } from "../types.js" */

/** @type {Record<string, IconName>} */
const ICONS = {
    read: "file",
    edit: "pencil",
    delete: "trash",
    move: "file",
    search: "search",
    execute: "terminal",
    think: "bulb",
    fetch: "globe",
};
/** @type {Record<string, string>} */
const STATES = { pending: "waiting", in_progress: "running", completed: "done", failed: "failed" };

/** @returns {View<ToolItem>} */
export function toolView() {
    const mark = h("span.tool-icon");
    const title = h("bdi.tool-title");
    const where = h("bdi.tool-where");
    const state = h("span.tool-state");
    const body = h("div.tool-body");
    const element = h("details.item.tool", h("summary", mark, h("span.tool-words", title, where), state), body);
    /** @type {ToolCall} */
    let call = {};
    let shownState = "";
    let isDecided = false;
    let filled = "";
    const fill = () => {
        const seen = JSON.stringify([call.content, call.rawInput, call.rawOutput, call.locations]);
        if (!element.open || filled === seen) return;
        filled = seen;
        body.replaceChildren(...toolParts(call));
    };
    element.addEventListener("toggle", fill);
    /** @param {ToolItem} item */
    const update = ({ toolCall, turn }) => {
        call = toolCall;
        mark.replaceChildren(icon(entryOf(ICONS, call.kind) ?? "tool"));
        text(title, oneLine(call.title ?? call.toolCallId ?? "Tool call"));
        text(where, placeOf(call));
        const given = typeof call.status === "string" && entryOf(STATES, call.status) ? call.status : "pending";
        // What its turn's end has left unfinished does not go on.
        const known = turn.endedAt && (given === "pending" || given === "in_progress") ? "left" : given;
        if (known !== shownState) {
            // A change is opened as it is made, once: what somebody has closed stays closed. Until then a permission's card
            // shows it.
            if (!isDecided && known !== "pending") {
                isDecided = true;
                element.open = known === "failed" || diffsOf(call).length > 0;
            }
            shownState = known;
            state.className = `tool-state ${known}`;
            state.replaceChildren(
                known === "in_progress" ? h("span.spinner") : "",
                entryOf(STATES, known) ?? "not finished",
            );
        }
        fill();
    };
    return { element, update };
}

/**
 * All that a call shows; a permission's card shows the same.
 *
 * @param {ToolCall} call
 */
export function toolParts(call) {
    const parts = contentOf(call).flatMap((entry) => toolContentView(entry) ?? []);
    if (call.content instanceof Elsewhere) parts.push(json("Content", call.content));
    const input = newIn(call.rawInput, call);
    if (input !== null) parts.unshift(part("Input", inputView(input)));
    if (call.rawOutput !== undefined && call.rawOutput !== null) parts.push(part("Output", outputView(call.rawOutput)));
    return parts.length ? parts : [h("p.about", "Nothing more is known of this call.")];
}

/**
 * What of a call's input is not shown as its diff already; null where that is nothing.
 *
 * @param {unknown} input
 * @param {ToolCall} call
 */
function newIn(input, call) {
    if (input === undefined || input === null) return null;
    if (!isObject(input) || input instanceof Elsewhere) return input;
    const shown = new Set(diffsOf(call).map(({ path }) => path));
    if (shown.size) for (const { path } of locationsOf(call)) shown.add(path);
    const rest = Object.entries(input).filter(([, value]) => !shown.has(value));
    return rest.length ? Object.fromEntries(rest) : null;
}

/**
 * @param {ToolCall} call
 * @returns {unknown[]}
 */
function contentOf({ content }) {
    return Array.isArray(content) ? content : [];
}

/** @param {ToolCall} call */
function diffsOf(call) {
    return contentOf(call)
        .filter(isObject)
        .filter(({ type }) => type === "diff");
}

/**
 * @param {ToolCall} call
 * @returns {Foreign[]}
 */
function locationsOf({ locations }) {
    return Array.isArray(locations) ? locations.filter(isObject) : [];
}

/**
 * @param {string} label
 * @param {HTMLElement} view
 */
function part(label, view) {
    return h("div.tool-part", h("span.part-label", label), view);
}

/** @param {unknown} input */
function inputView(input) {
    if (!isObject(input) || input instanceof Elsewhere) return json("Input", input);
    const command = commandOf(input);
    if (command !== null) return plain(`$ ${command}`, "Command");
    return isSimple(input) ? facts(input) : json("Input", input);
}

/**
 * Some short values, each with a name.
 *
 * @param {Foreign} input
 */
function isSimple(input) {
    const values = Object.values(input);
    /** @param {unknown} value */
    const isShort = (value) =>
        value === null || (typeof value !== "object" && String(value).length <= 200 && !String(value).includes("\n"));
    return values.length > 0 && values.length <= 6 && values.every(isShort);
}

/** @param {Foreign} input */
function facts(input) {
    return h(
        "dl.facts",
        Object.entries(input).map(([name, value]) => [
            h("dt", oneLine(name, 60)),
            h("dd", h("bdi", oneLine(value, 200))),
        ]),
    );
}

/** @param {Foreign} input */
function commandOf(input) {
    if (typeof input.command === "string" && Object.keys(input).length <= 2) return input.command;
    return Array.isArray(input.command) && input.command.every((word) => typeof word === "string")
        ? input.command.join(" ")
        : null;
}

/** @param {unknown} output */
function outputView(output) {
    if (typeof output === "string") return plain(output, "Output");
    if (output instanceof Elsewhere || !isObject(output)) return json("Output", output);
    const isText = typeof output.output === "string" || output.output instanceof Elsewhere;
    const said = isText && Object.keys(output).length === 1;
    return said ? plain(output.output, "Output") : json("Output", output);
}

/** @param {ToolCall} call */
function placeOf(call) {
    const [place] = locationsOf(call);
    if (typeof place?.path !== "string") return "";
    const name = oneLine(place.path.split("/").slice(-2).join("/"), 120);
    const shown = place.line ? `${name}:${oneLine(place.line, 20)}` : name;
    return oneLine(call.title ?? "").includes(shown) ? "" : shown;
}
