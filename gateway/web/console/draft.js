/** A prompt that is being written: kept in this browser until the gateway has it, with the key that it was sent under. */

import { newKey } from "./api.js";
import { remember, remembered } from "./keep.js";

/** @typedef {{ key: string, text: string }} Sent */

export class Draft {
    #name;
    /**
     * What was sent last, while nobody knows whether it was taken.
     *
     * @type {Sent | null}
     */
    #sent = null;

    /**
     * Of a session, or of a project's next one.
     *
     * @param {string} projectId
     * @param {string | null} sessionId
     */
    constructor(projectId, sessionId = null) {
        this.#name = ["draft", projectId, sessionId].filter(Boolean).join(".");
    }

    get text() {
        return remembered(this.#name) ?? "";
    }

    /** @param {string | null} text */
    write(text) {
        remember(this.#name, text);
    }

    /**
     * The same for the same text: a page may be closed, or a line break, before it is heard that it was taken.
     *
     * @param {string} text
     */
    keyFor(text) {
        const known = [this.#sent, this.#remembered()].find((sent) => sent?.text === text);
        this.#sent = known ?? { key: newKey(), text };
        remember(`${this.#name}.sent`, JSON.stringify(this.#sent));
        return this.#sent.key;
    }

    /** The gateway has taken what was sent, or refused it: the same text is another prompt from now on. */
    settle() {
        // Another tab may have sent something since.
        if (this.#remembered()?.key === this.#sent?.key) remember(`${this.#name}.sent`, null);
        this.#sent = null;
    }

    /** @returns {Sent | null} */
    #remembered() {
        try {
            return JSON.parse(remembered(`${this.#name}.sent`) ?? "null");
        } catch {
            return null;
        }
    }
}
