/**
 * A tab that nobody looks at holds no connection for long: over HTTP/1.1 a browser has six to a gateway, for all its tabs
 * together, and an event stream takes one for as long as it is open. It looks in now and then, for the mark in its title.
 */

/** @import { EventStream, StreamState } from "../acp-gateway.js" */

const HIDDEN_MS = 60_000;
const LOOKS_IN_MS = 30_000;

export class Resting {
    #stream;
    /** @type {number | undefined} */
    #timer;
    #rests = false;
    #ended = new AbortController();

    /**
     * Of an event stream, from when it is opened until `end()`.
     *
     * @param {EventStream} stream
     */
    constructor(stream) {
        this.#stream = stream;
        document.addEventListener("visibilitychange", () => this.#look(), { signal: this.#ended.signal });
        this.#look();
    }

    end() {
        clearTimeout(this.#timer);
        this.#ended.abort();
    }

    /**
     * The stream has told its state: what happened meanwhile is read once it is live.
     *
     * @param {StreamState} state
     */
    told(state) {
        if (this.#rests && state === "live") this.#rest();
    }

    #look() {
        clearTimeout(this.#timer);
        this.#rests = false;
        if (document.visibilityState === "hidden") this.#timer = setTimeout(() => this.#rest(), HIDDEN_MS);
        else this.#stream.wake();
    }

    #rest() {
        clearTimeout(this.#timer);
        this.#rests = true;
        this.#stream.rest();
        this.#timer = setTimeout(() => this.#stream.wake(), LOOKS_IN_MS);
    }
}
