/** A box that follows its end while its reader is there, and leaves them where they are otherwise. */

const NEAR = 48;

export class Scroller {
    #box;
    #follows = true;
    #size = "";
    #onMove;

    /**
     * `onMove(follows)` is called when its reader leaves the end or comes back to it.
     *
     * @param {Element} box
     * @param {Element} content
     * @param {(follows: boolean) => void} onMove
     */
    constructor(box, content, onMove) {
        this.#box = box;
        this.#onMove = onMove;
        box.addEventListener("scroll", () => this.#moved(), { passive: true });
        new ResizeObserver(() => this.settle()).observe(content);
        new ResizeObserver(() => this.settle()).observe(box);
    }

    get follows() {
        return this.#follows;
    }

    /** Go to the end if its reader was there. */
    settle() {
        if (this.#follows) this.#box.scrollTop = this.#box.scrollHeight;
        this.#measure();
    }

    toEnd() {
        this.#follow(true);
        this.settle();
    }

    /**
     * Do something that changes what stands above: what is read stays where it is.
     *
     * @param {() => void} change
     */
    keepingPlace(change) {
        const fromEnd = this.#box.scrollHeight - this.#box.scrollTop;
        change();
        if (!this.#follows) this.#box.scrollTop = this.#box.scrollHeight - fromEnd;
        this.#measure();
    }

    #measure() {
        this.#size = `${this.#box.clientHeight} ${this.#box.scrollHeight}`;
    }

    /** Somebody scrolls; or the box or what is in it has another size, which makes nobody leave the end. */
    #moved() {
        const isAtEnd = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < NEAR;
        const isScroll = this.#size === `${this.#box.clientHeight} ${this.#box.scrollHeight}`;
        if (isAtEnd || isScroll) this.#follow(isAtEnd);
    }

    /** @param {boolean} yes */
    #follow(yes) {
        if (yes === this.#follows) return;
        this.#follows = yes;
        this.#onMove(yes);
    }
}
