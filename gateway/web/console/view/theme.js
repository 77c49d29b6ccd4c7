/** The switch between light, dark, and what the system says. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { remember, remembered } from "../keep.js";

/** @import { IconName } from "../icons.js" */
/** @typedef {"system" | "light" | "dark"} Theme */

/** @type {Record<Theme, [IconName, string]>} */
const THEMES = { system: ["half", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };
/** @type {Theme[]} */
const NAMES = ["system", "light", "dark"];

export function themeButton() {
    const button = h("button.icon-button", { type: "button", on: { click: next } });
    const chosen = remembered("theme");
    let theme = NAMES.find((name) => name === chosen) ?? "system";
    function next() {
        theme = NAMES[NAMES.indexOf(theme) + 1] ?? "system";
        remember("theme", theme === "system" ? null : theme);
        show();
    }
    function show() {
        const [name, word] = THEMES[theme];
        if (theme === "system") delete document.documentElement.dataset.theme;
        else document.documentElement.dataset.theme = theme;
        button.replaceChildren(icon(name));
        button.title = `Colours: ${word}`;
        button.setAttribute("aria-label", `Colours: ${word}. Change`);
    }
    show();
    return button;
}
