/** Single keys that do something wherever no text is written. */

import { entryOf } from "./table.js";
import { keysAreOn } from "./view/help.js";

/**
 * Have each key of `actions` do what it says there.
 *
 * @param {Record<string, () => void>} actions
 */
export function listenForKeys(actions) {
    document.addEventListener("keydown", (event) => {
        const { key, target, ctrlKey, metaKey, altKey } = event;
        if (ctrlKey || metaKey || altKey || !keysAreOn() || document.querySelector("dialog[open]")) return;
        if (target instanceof Element && target.closest("input, textarea, select, [contenteditable]")) return;
        const act = entryOf(actions, key);
        if (!act) return;
        event.preventDefault();
        act();
    });
}
