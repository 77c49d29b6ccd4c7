/** A change to a file: what goes away and what comes, marked by sign and colour. */

import { h } from "../dom.js";
import { Elsewhere } from "../model/elsewhere.js";
import { diffLines, folded } from "../text/diff.js";
import { honest, oneLine } from "../text/plain.js";
import { whenWanted } from "./elsewhere.js";

/** @import { DiffLine, Fold } from "../text/diff.js" */
/** @import { Foreign } from "../types.js" */

/** Lines beyond these are shown on demand. */
const MOST_LINES = 400;
/** @type {Record<DiffLine["kind"], [string, string]>} */
const MARKS = { same: ["span", " "], del: ["del", "−"], ins: ["ins", "+"] };

/** @typedef {{ path?: unknown, oldText?: string | null, newText?: string | null }} Change */

/**
 * Whether a change is one of texts; where there was no file, or is none, its text is null.
 *
 * @param {Foreign} change
 * @returns {change is Change}
 */
function isDiff(change) {
    const texts = [change.oldText, change.newText];
    return texts.every((text) => text === undefined || text === null || typeof text === "string");
}

/**
 * A change, or null if it is none of texts. A large one is read on demand.
 *
 * @param {Foreign} change
 */
export function changeView(change) {
    const { path, oldText, newText } = change;
    const large = [oldText, newText].filter((text) => text instanceof Elsewhere);
    if (!large.length) return isDiff(change) ? diffView(change) : null;
    const name = h("figcaption", h("bdi.path", oneLine(path ?? "a file", 500)));
    return whenWanted(large, name, (texts) => {
        const [before, after] = [oldText, newText].map((text) => (text instanceof Elsewhere ? texts.shift() : text));
        const read = { path, oldText: before, newText: after };
        return isDiff(read) ? diffView(read) : name;
    });
}

/** @param {Change} change */
function diffView({ path, oldText, newText }) {
    const diff = diffLines(oldText ?? "", newText ?? "");
    const added = diff.filter(({ kind }) => kind === "ins").length;
    const removed = diff.filter(({ kind }) => kind === "del").length;
    const shown = folded(diff);
    const isSame = !added && !removed;
    const body = h(
        "div.diff-lines",
        isSame ? h("div.diff-fold", "Nothing changes in it.") : shown.slice(0, MOST_LINES).map(line),
    );
    const rest = isSame ? [] : shown.slice(MOST_LINES);
    const more = h("button.quiet", { type: "button", on: { click: showRest } }, `Show ${rest.length} more lines`);
    function showRest() {
        body.append(...rest.map(line));
        more.remove();
    }
    const what = oldText === null || oldText === undefined ? "new file" : "changed";
    return h(
        "figure.diff",
        h(
            "figcaption",
            h("bdi.path", oneLine(path ?? "a file", 500)),
            h(
                "span.diff-sum",
                h("span.unseen", `${what}, `),
                h("span.added", `+${added}`),
                " ",
                h("span.removed", `−${removed}`),
            ),
        ),
        h(
            "div.diff-scroll",
            { tabindex: 0, role: "group", "aria-label": `Change to ${oneLine(path ?? "a file", 500)}` },
            body,
        ),
        rest.length ? more : null,
    );
}

/** @param {DiffLine | Fold} entry */
function line(entry) {
    if (entry.kind === "fold")
        return h("div.diff-fold", `${entry.count} unchanged line${entry.count === 1 ? "" : "s"}`);
    const [tag, sign] = MARKS[entry.kind];
    return h(
        `${tag}.diff-line`,
        h("span.diff-number", { "aria-hidden": "true" }, String(entry.new ?? entry.old)),
        h("span.diff-sign", { "aria-hidden": "true" }, sign),
        h("span.diff-text", honest(entry.text) || " "),
    );
}
