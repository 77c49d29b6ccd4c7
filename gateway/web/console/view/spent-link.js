/** A sign-in link that is good no more, and how to get another. */

import { h } from "../dom.js";

/** @import { PageView } from "../types.js" */

/**
 * @param {() => void} goOn
 * @returns {PageView}
 */
export function spentLinkView(goOn) {
    const element = h(
        "div.plain-page",
        { role: "alert" },
        h("h1", "This link signs nobody in any more"),
        h("p", "It has been used, it is older than 15 minutes, or the gateway was started again since."),
        h("p.about", "Where the gateway runs, this prints another: ", h("code", "acp-gateway token link")),
        h("div.form-actions", h("button.primary", { type: "button", on: { click: goOn } }, "Go on without it")),
    );
    return { element, update() {}, close() {} };
}
