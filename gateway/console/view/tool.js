/** A tool call: what it is, how it stands, what went in and what came out. */

import { h, text } from "../dom.js";
import { icon } from "../icons.js";
import { oneLine } from "../text/plain.js";
import { json, plain, toolContentView } from "./content.js";

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
const STATES = { pending: "waiting", in_progress: "running", completed: "done", failed: "failed" };

export function toolView() {
    const mark = h("span.tool-icon");
    const title = h("bdi.tool-title");
    const where = h("bdi.tool-where");
    const state = h("span.tool-state");
    const body = h("div.tool-body");
    const element = h("details.item.tool", h("summary", mark, h("span.tool-words", title, where), state), body);
    let call = {};
    let shownState = null;
    let isDecided = false;
    let filled = null;
    const fill = () => {
        const seen = JSON.stringify([call.content, call.rawInput, call.rawOutput, call.locations]);
        if (!element.open || filled === seen) return;
        filled = seen;
        body.replaceChildren(...toolParts(call));
    };
    element.addEventListener("toggle", fill);
    const update = ({ toolCall, turn }) => {
        call = toolCall;
        mark.replaceChildren(icon(ICONS[call.kind] ?? "tool"));
        text(title, oneLine(call.title ?? call.toolCallId ?? "Tool call"));
        text(where, placeOf(call));
        const given = call.status in STATES ? call.status : "pending";
        // What its turn's end has left unfinished does not go on.
        const known = turn.endedAt && given in { pending: 1, in_progress: 1 } ? "left" : given;
        if (known !== shownState) {
            // A change is opened as it is made, once: what somebody has closed stays closed. Until then a permission's card
            // shows it.
            if (!isDecided && known !== "pending") {
                isDecided = true;
                element.open = known === "failed" || contentOf(call).some((one) => one?.type === "diff");
            }
            shownState = known;
            state.className = `tool-state ${known}`;
            state.replaceChildren(
                known === "in_progress" ? h("span.spinner") : "",
                known === "left" ? "not finished" : STATES[known],
            );
        }
        fill();
    };
    return { element, update };
}

/** All that a call shows; a permission's card shows the same. */
export function toolParts(call) {
    const parts = contentOf(call).map(toolContentView).filter(Boolean);
    const input = newIn(call.rawInput, call);
    if (input !== null) parts.unshift(part("Input", inputView(input)));
    if (call.rawOutput !== undefined && call.rawOutput !== null) parts.push(part("Output", outputView(call.rawOutput)));
    return parts.length ? parts : [h("p.about", "Nothing more is known of this call.")];
}

/** What of a call's input is not shown as its diff already; null where that is nothing. */
function newIn(input, call) {
    if (input === undefined || input === null) return null;
    if (typeof input !== "object" || Array.isArray(input)) return input;
    const shown = new Set(
        contentOf(call)
            .filter((one) => one?.type === "diff")
            .map(({ path }) => path),
    );
    for (const place of shown.size && Array.isArray(call.locations) ? call.locations : []) shown.add(place?.path);
    const rest = Object.entries(input).filter(([, value]) => !shown.has(value));
    return rest.length ? Object.fromEntries(rest) : null;
}

function contentOf({ content }) {
    return Array.isArray(content) ? content : [];
}

function part(label, view) {
    return h("div.tool-part", h("span.part-label", label), view);
}

function inputView(input) {
    const command = typeof input === "object" ? commandOf(input) : null;
    if (command !== null) return plain(`$ ${command}`, "Command");
    return isSimple(input) ? facts(input) : json("Input", input);
}

/** Some short values, each with a name. */
function isSimple(input) {
    const values = typeof input === "object" && !Array.isArray(input) ? Object.values(input) : [];
    const isShort = (value) =>
        value === null || (typeof value !== "object" && String(value).length <= 200 && !String(value).includes("\n"));
    return values.length > 0 && values.length <= 6 && values.every(isShort);
}

function facts(input) {
    return h(
        "dl.facts",
        Object.entries(input).map(([name, value]) => [
            h("dt", oneLine(name, 60)),
            h("dd", h("bdi", oneLine(value, 200))),
        ]),
    );
}

function commandOf(input) {
    if (typeof input.command === "string" && Object.keys(input).length <= 2) return input.command;
    return Array.isArray(input.command) && input.command.every((word) => typeof word === "string")
        ? input.command.join(" ")
        : null;
}

function outputView(output) {
    if (typeof output === "string") return plain(output, "Output");
    const said = output && typeof output.output === "string" && Object.keys(output).length === 1;
    return said ? plain(output.output, "Output") : json("Output", output);
}

function placeOf({ locations, title = "" }) {
    const place = Array.isArray(locations) ? locations[0] : null;
    if (!place?.path) return "";
    const name = oneLine(place.path.split("/").slice(-2).join("/"), 120);
    const shown = place.line ? `${name}:${place.line}` : name;
    return String(title).includes(shown) ? "" : shown;
}
