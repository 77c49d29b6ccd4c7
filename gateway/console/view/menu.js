/** A button that shows more buttons. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

const GAP = 4;

/** `entries()` gives `[{ label, icon, act, danger }]` for the moment at which it is opened. */
export function menu(label, entries, iconName = "chevron") {
    const list = h("div.menu-list");
    const element = h(
        "details.menu",
        { on: { toggle: fill, focusout: leave, keydown: escape } },
        h("summary.icon-button", { "aria-label": label, title: label }, icon(iconName)),
        list,
    );
    function fill() {
        if (!element.open) return removeEventListener("scroll", moved, true);
        addEventListener("scroll", moved, true);
        list.replaceChildren(
            ...entries().map((entry) =>
                h(
                    `button${entry.danger ? ".danger-text" : ""}`,
                    { type: "button", on: { click: () => ((element.open = false), entry.act()) } },
                    icon(entry.icon),
                    entry.label,
                ),
            ),
        );
        place();
    }
    /** Below its button, or above it where there is no room: in front of whatever scrolls. */
    function place() {
        const { bottom, top, right } = element.getBoundingClientRect();
        const height = list.offsetHeight;
        const isRoom = bottom + GAP + height <= innerHeight;
        list.style.top = `${isRoom ? bottom + GAP : Math.max(GAP, top - GAP - height)}px`;
        list.style.left = `${Math.max(GAP, right - list.offsetWidth)}px`;
    }
    function moved({ target }) {
        if (target.contains(element)) element.open = false;
    }
    function leave({ relatedTarget }) {
        if (element.open && !element.contains(relatedTarget)) element.open = false;
    }
    function escape(event) {
        if (event.key !== "Escape" || !element.open) return;
        event.stopPropagation();
        element.open = false;
        element.querySelector("summary").focus();
    }
    return element;
}
