/** The page's frame: the list at its side, and beside it one view at a time. */

import { attribute, byId } from "../dom.js";

/** @import { PageView } from "../types.js" */

/** Where there is no room for two things beside each other: as in layout.css. */
const NARROW = matchMedia("(max-width: 760px)");

export class Frame {
    side = byId("sidebar");
    #main = byId("main");
    /** @type {PageView | null} */
    #view = null;
    /**
     * What the view shows, so that the same is not shown anew.
     *
     * @type {string | null}
     */
    #name = null;

    constructor() {
        NARROW.addEventListener("change", () => this.#markMain());
    }

    /** The view that is shown. */
    get view() {
        return this.#view;
    }

    /**
     * Show the view called `name`, which `create` makes, unless it is the one that is shown.
     *
     * @param {string} name
     * @param {() => PageView} create
     */
    show(name, create) {
        if (this.#name === name) return;
        const had = this.#view !== null;
        this.#view?.close();
        this.#view = create();
        this.#name = name;
        this.#main.replaceChildren(this.#view.element);
        if (had) this.#main.focus({ preventScroll: true });
    }

    /** Whatever is shown next is shown anew. */
    forget() {
        this.#name = null;
    }

    /**
     * On a small screen, show the list, or else the view.
     *
     * @param {boolean} isList
     */
    lead(isList) {
        document.body.dataset.page = isList ? "list" : "session";
        this.#markMain();
    }

    /** On a small screen the list is all that is shown, and so the main thing. */
    #markMain() {
        const isMain = NARROW.matches && document.body.dataset.page === "list";
        attribute(this.side, "role", isMain ? "main" : "navigation");
    }
}
