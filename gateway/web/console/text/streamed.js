/** Markdown that grows at its end, shown as it comes. */

import { h } from "../dom.js";
import { blocks } from "./markdown.js";

/** Of the time that passes, the part that showing one growing text may take. */
const SHARE = 0.25;
/** Milliseconds for which the page may do nothing else, and how many blocks are laid out at a time. */
const AT_ONCE = 50;
const GROUP = 100;

/**
 * An element that shows a growing text.
 *
 * A block of Markdown is finished once another one has begun behind it, so only the last one is read and made again.
 * (A link's definition may stand further down than the link: that is seen when the text is shown as final.) Where the last
 * one is long, it is shown less often, so that a long text costs the page no more than a short one. A final text that is
 * long comes piece by piece.
 */
export class Streamed {
    element = h("div.prose");
    #text = "";
    #settled = 0;
    /** @type {ChildNode[]} */
    #tail = [];
    #final = false;
    /** @type {number | undefined} */
    #waiting;
    #notBefore = 0;
    /** @type {ReturnType<typeof blocks>} Last one first. */
    #left = [];

    /**
     * Show `text`, which begins with what was shown before; `final`: nothing more will come.
     *
     * @param {string} text
     * @param {boolean} final
     */
    show(text, final) {
        if (text === this.#text && final === this.#final) return;
        const grows = text.startsWith(this.#text) && !this.#final;
        this.#text = text;
        this.#final = final;
        if (final || !grows) {
            this.#begin();
            this.#render();
        } else if (performance.now() >= this.#notBefore) {
            this.#render();
        } else {
            this.#waiting ??= setTimeout(() => this.#render(), this.#notBefore - performance.now());
        }
    }

    #begin() {
        this.#settled = 0;
        this.#tail = [];
        this.#left = [];
        this.element.replaceChildren();
    }

    #render() {
        clearTimeout(this.#waiting);
        this.#waiting = undefined;
        if (this.#final) {
            this.#left = blocks(this.#text).reverse();
            this.#addLeft();
        } else {
            this.#renderTail();
        }
    }

    #addLeft() {
        this.#waiting = undefined;
        const began = performance.now();
        while (this.#left.length && performance.now() - began < AT_ONCE) {
            const group = this.#left.splice(-GROUP).reverse();
            this.element.append(...group.map((block) => block.elements()));
            this.element.getBoundingClientRect();
        }
        if (this.#left.length) this.#waiting = setTimeout(() => this.#addLeft());
    }

    #renderTail() {
        const began = performance.now();
        const found = blocks(this.#text.slice(this.#settled));
        for (const node of this.#tail) node.remove();
        const last = found.pop();
        for (const block of found) this.element.append(block.elements());
        if (last) {
            const elements = last.elements();
            this.#tail = [...elements.childNodes];
            this.element.append(elements);
            this.#settled += last.from;
        }
        // Most of what a long text costs is its layout, which is done here, so that it counts.
        this.element.getBoundingClientRect();
        const ended = performance.now();
        this.#notBefore = ended + (ended - began) * (1 / SHARE - 1);
    }
}
