/** What stands in the place of everything where the gateway cannot be asked. */

import { h } from "../dom.js";
import { hintFor, messageOf } from "./notices.js";

const TITLE = "The gateway does not answer as it should";

/** @import { PageView } from "../types.js" */

/**
 * @param {unknown} problem
 * @param {() => void} again
 * @returns {PageView}
 */
export function troubleView(problem, again, title = TITLE) {
    const element = h(
        "div.plain-page",
        { role: "alert" },
        h("h1", title),
        h("p", messageOf(problem)),
        hintFor(problem) ? h("p.about", hintFor(problem)) : null,
        h("div.form-actions", h("button.primary", { type: "button", on: { click: again } }, "Try again")),
    );
    return { element, update() {}, close() {} };
}
