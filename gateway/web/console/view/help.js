/** Keys, and where to read more. */

import { h } from "../dom.js";
import { remember, remembered } from "../keep.js";
import { openDialog } from "./dialog.js";

export const KEYS = [
    ["/", "write a prompt"],
    ["n", "new session"],
    ["p", "go to what waits for your answer"],
    ["j", "next session"],
    ["k", "session before"],
    ["e", "latest entry of the transcript"],
    ["?", "this help"],
];

export function keysAreOn() {
    return remembered("keys") !== "off";
}

/** @param {(() => void) | null} signOut Called where its button is pressed; null where nobody is signed in. */
export function openHelp(signOut) {
    const on = h("input", { type: "checkbox", id: "keys-on" });
    on.checked = keysAreOn();
    on.addEventListener("change", () => remember("keys", on.checked ? null : "off"));
    return openDialog("Help and keys", () =>
        h(
            "div",
            h(
                "table.keys",
                h("caption.unseen", "Keys"),
                h(
                    "tbody",
                    KEYS.map(([key, what]) => h("tr", h("th", { scope: "row" }, h("kbd", key)), h("td", what))),
                ),
            ),
            h("label.check", { for: "keys-on" }, on, "Single keys do this wherever no text is written"),
            h(
                "p.about",
                "In a prompt, Enter sends and Shift+Enter begins a new line; on a phone Enter begins a new line. A prompt that is sent while a turn runs waits for its end.",
            ),
            h(
                "p.about",
                "What you write and have not sent stays in this browser. All else is in the gateway: a turn goes on whoever watches.",
            ),
            signOut &&
                h("div.form-actions", h("button.quiet", { type: "button", on: { click: signOut } }, "Sign this browser out")),
        ),
    );
}
