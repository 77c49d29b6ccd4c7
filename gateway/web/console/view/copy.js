/** A button that copies. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { announce, complain } from "./notices.js";

const DONE_MS = 1500;

/**
 * @param {string} label
 * @param {() => string} textToCopy
 * @param {{ withLabel?: boolean }} options
 */
export function copyButton(label, textToCopy, { withLabel = false } = {}) {
    /** @type {HTMLElement} */
    const button = h(withLabel ? "button.quiet" : "button.icon-button", {
        type: "button",
        title: label,
        "aria-label": label,
        on: { click },
    });
    const rest = () => button.replaceChildren(icon("copy"), ...(withLabel ? ["Copy"] : []));
    async function click() {
        try {
            await navigator.clipboard.writeText(textToCopy());
        } catch {
            complain("This browser does not let the page copy", new Error("Select the text and copy it yourself."));
            return;
        }
        button.replaceChildren(icon("check"), ...(withLabel ? ["Copied"] : []));
        announce("Copied");
        setTimeout(rest, DONE_MS);
    }
    rest();
    return button;
}
