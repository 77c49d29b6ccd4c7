/** Who asks: an API token, where the gateway wants one. */

import { h } from "../dom.js";
import { honest } from "../text/plain.js";
import { field, form, openDialog } from "./dialog.js";

/** @typedef {{ token: string, keep: boolean }} Given */

/**
 * Ask until one is given: without it there is nothing to show. `reason`: why the one before did not do.
 *
 * @param {string | null} reason
 * @returns {Promise<Given>}
 */
export async function askForToken(reason) {
    for (;;) {
        /** @type {Given | undefined} */
        const given = await openDialog("Who are you?", (close) => fields(reason, close));
        if (given) return given;
    }
}

/**
 * @param {string | null} reason
 * @param {(given: Given) => void} close
 */
function fields(reason, close) {
    const token = h("input", {
        type: "password",
        required: true,
        autocomplete: "off",
        spellcheck: "false",
        autofocus: true,
    });
    const keep = h("input", { type: "checkbox", id: "keep-token" });
    return form(
        "Go on",
        [
            reason
                ? h("p.form-problem", honest(reason))
                : h("p", "This gateway wants to know who asks. Paste an API token of yours."),
            h(
                "p.about",
                "On the gateway's own machine ",
                h("code", "acp-gateway token link"),
                " prints a link that signs this browser in instead.",
            ),
            field("API token", token, "It is sent to this gateway and to nobody else."),
            h("label.check", { for: "keep-token" }, keep, "Keep it until this tab is closed"),
        ],
        () => close({ token: token.value.trim(), keep: keep.checked }),
    );
}
