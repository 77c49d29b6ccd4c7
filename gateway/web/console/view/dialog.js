/** Dialogs: the browser's own, which keeps the focus in and gives it back. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { messageOf } from "./notices.js";

let count = 0;

/** @import { Child } from "../types.js" */

/**
 * Open a dialog; `fill(close)` gives what stands in it. Its promise gives what `close(value)` was called with.
 *
 * @template [Value=undefined]
 * @param {string} title
 * @param {(close: (value?: Value) => void) => Child} fill
 * @param {{ isWide?: boolean }} options
 * @returns {Promise<Value | undefined>}
 */
export function openDialog(title, fill, { isWide = false } = {}) {
    return new Promise((resolve) => {
        const id = `dialog-title-${(count += 1)}`;
        /** @type {Value | undefined} */
        let value;
        /** @type {HTMLDialogElement} */
        const dialog = h(
            "dialog",
            {
                "aria-labelledby": id,
                class: isWide ? "wide" : null,
                on: { close: () => (dialog.remove(), resolve(value)) },
            },
            h(
                "div.dialog-head",
                h("h2", { id }, title),
                h(
                    "button.icon-button",
                    { type: "button", "aria-label": "Close", on: { click: () => dialog.close() } },
                    icon("cross"),
                ),
            ),
            fill((given) => ((value = given), dialog.close())),
        );
        document.body.append(dialog);
        dialog.showModal();
    });
}

/**
 * A form whose button works once at a time, and that says beside its fields what went wrong.
 *
 * @param {string} submitLabel
 * @param {Child} fields
 * @param {() => unknown} submit
 * @param {{ danger?: boolean }} options
 */
export function form(submitLabel, fields, submit, { danger = false } = {}) {
    const problem = h("p.form-problem", { role: "alert", hidden: true });
    const button = h(`button.${danger ? "danger" : "primary"}`, { type: "submit" }, submitLabel);
    return h("form", { on: { submit: send } }, fields, problem, h("div.form-actions", button));
    /** @param {Event} event */
    async function send(event) {
        event.preventDefault();
        if (button.getAttribute("aria-disabled")) return;
        button.setAttribute("aria-disabled", "true");
        problem.hidden = true;
        try {
            await submit();
        } catch (error) {
            problem.textContent = messageOf(error);
            problem.hidden = false;
        } finally {
            button.removeAttribute("aria-disabled");
        }
    }
}

/**
 * A labelled field; `about` is said below it.
 *
 * @param {string} label
 * @param {HTMLInputElement | HTMLTextAreaElement} input
 * @param {string} [about]
 */
export function field(label, input, about) {
    const id = (input.id ||= `field-${(count += 1)}`);
    if (about) input.setAttribute("aria-describedby", `${id}-about`);
    return h(
        "div.field",
        h("label", { for: id }, label),
        input,
        about ? h("p.about", { id: `${id}-about` }, about) : null,
    );
}

/**
 * Ask before something is done that cannot be undone.
 *
 * @param {string} title
 * @param {string} text
 * @param {string} label
 * @returns {Promise<true | undefined>}
 */
export function confirmed(title, text, label) {
    return openDialog(title, (close) => form(label, h("p", text), () => close(true), { danger: true }));
}
