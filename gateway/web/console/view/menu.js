/** A button that shows more buttons. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

/** @import { IconName } from "../icons.js" */
/** @typedef {{ label: string, icon: IconName, act: () => void, danger?: boolean }} MenuEntry */

const GAP = 4;

/**
 * `entries()` gives those of the moment at which it is opened; false where one is left out.
 *
 * @param {string} label
 * @param {() => (MenuEntry | false)[]} entries
 * @param {IconName} iconName
 */
export function menu(label, entries, iconName = "chevron") {
    const list = h("div.menu-list");
    const summary = h("summary.icon-button", { "aria-label": label, title: label }, icon(iconName));
    /** @type {HTMLDetailsElement} */
    const element = h("details.menu", { on: { toggle: fill, focusout: leave, keydown: escape } }, summary, list);
    function fill() {
        if (!element.open) {
            removeEventListener("scroll", moved, true);
            return;
        }
        addEventListener("scroll", moved, true);
        list.replaceChildren(...entries().flatMap((entry) => (entry ? [button(entry)] : [])));
        place();
    }
    /** @param {MenuEntry} entry */
    function button(entry) {
        return h(
            `button${entry.danger ? ".danger-text" : ""}`,
            { type: "button", on: { click: () => ((element.open = false), entry.act()) } },
            icon(entry.icon),
            entry.label,
        );
    }
    /** Below its button, or above it where there is no room: in front of whatever scrolls. */
    function place() {
        const { bottom, top, right } = element.getBoundingClientRect();
        const height = list.offsetHeight;
        const isRoom = bottom + GAP + height <= innerHeight;
        list.style.top = `${isRoom ? bottom + GAP : Math.max(GAP, top - GAP - height)}px`;
        list.style.left = `${Math.max(GAP, right - list.offsetWidth)}px`;
    }
    /** @param {Event} event */
    function moved({ target }) {
        if (target instanceof Node && target.contains(element)) element.open = false;
    }
    /** @param {FocusEvent} event */
    function leave({ relatedTarget }) {
        const isInside = relatedTarget instanceof Node && element.contains(relatedTarget);
        if (element.open && !isInside) element.open = false;
    }
    /** @param {KeyboardEvent} event */
    function escape(event) {
        if (event.key !== "Escape" || !element.open) return;
        event.stopPropagation();
        element.open = false;
        summary.focus();
    }
    return element;
}
