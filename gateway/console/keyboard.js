/** Single keys that do something wherever no text is written. */

import { keysAreOn } from "./view/help.js";

/** Have each key of `actions` do what it says there. */
export function listenForKeys(actions) {
    document.addEventListener("keydown", (event) => {
        const { key, target, ctrlKey, metaKey, altKey } = event;
        if (ctrlKey || metaKey || altKey || !keysAreOn() || document.querySelector("dialog[open]")) return;
        if (target.closest("input, textarea, select, [contenteditable]")) return;
        if (!Object.hasOwn(actions, key)) return;
        event.preventDefault();
        actions[key]();
    });
}
