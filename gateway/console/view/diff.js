/** A change to a file: what goes away and what comes, marked by sign and colour. */

import { h } from "../dom.js";
import { diffLines, folded } from "../text/diff.js";
import { honest, oneLine } from "../text/plain.js";

/** Lines beyond these are shown on demand. */
const MOST_LINES = 400;
const MARKS = { same: ["span", " "], del: ["del", "−"], ins: ["ins", "+"] };

export function diffView({ path, oldText, newText }) {
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
