/** A command that runs for an agent: what it writes as it grows, and how it ended. */

import { h, text } from "../dom.js";
import { icon } from "../icons.js";
import { Elsewhere } from "../model/elsewhere.js";
import { oneLine } from "../text/plain.js";
import { plain } from "./content.js";

/** @import { Terminal, TerminalItem, View } from "../types.js" */

/** @returns {View<TerminalItem>} */
export function terminalView() {
    const title = h("bdi.tool-title");
    const state = h("span.tool-state");
    const body = h("div.tool-body");
    const element = h(
        "details.item.tool.terminal",
        h("summary", h("span.tool-icon", icon("terminal")), h("span.tool-words", title), state),
        body,
    );
    /** @type {Terminal | null} */
    let shown = null;
    let filled = "";
    const fill = () => {
        if (!shown || !element.open) return;
        const parts = partsOf(shown);
        const seen = parts.join("\n");
        if (filled === seen) return;
        filled = seen;
        body.replaceChildren(...parts.map((part) => plain(part, "Output")), ...leftOut(shown));
    };
    element.addEventListener("toggle", fill);
    /** @param {TerminalItem} item */
    const update = ({ terminal }) => {
        shown = terminal;
        text(title, oneLine(commandOf(terminal)));
        const [word, kind] = stateOf(terminal);
        state.className = `tool-state ${kind}`;
        state.replaceChildren(kind === "in_progress" ? h("span.spinner") : "", word);
        fill();
    };
    return { element, update };
}

/** @param {Terminal} terminal */
function partsOf(terminal) {
    const { output, omittedBytes, outputEnd = "" } = terminal;
    const first = `$ ${commandOf(terminal)}\n${output}`;
    return omittedBytes ? [first, outputEnd] : [first];
}

/** @param {Terminal} terminal */
function leftOut({ omittedBytes }) {
    return omittedBytes
        ? [h("p.about", `Between the two, ${omittedBytes.toLocaleString()} bytes were too many to keep.`)]
        : [];
}

/** @param {Terminal} terminal */
function commandOf({ terminalId, command = terminalId, args = [] }) {
    /** @param {unknown} word */
    const shown = (word) => (word instanceof Elsewhere ? word.toJSON() : word);
    return [command, ...args].map(shown).join(" ");
}

/**
 * @param {Terminal} terminal
 * @returns {[string, string]}
 */
function stateOf({ exitStatus }) {
    if (!exitStatus) return ["running", "in_progress"];
    const { exitCode, signal } = exitStatus;
    if (signal !== null) return [`ended by ${oneLine(signal, 20)}`, "failed"];
    return exitCode === 0 ? ["done", "completed"] : [`exit status ${exitCode}`, "failed"];
}
