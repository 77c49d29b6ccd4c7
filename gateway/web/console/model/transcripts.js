/** The transcripts that were looked at: read once, then kept up to date by events. */

import { Transcript } from "./transcript.js";

/** @import { LogEvent, Snapshot } from "../types.js" */
/** @import { Calls } from "./calls.js" */

/**
 * A transcript, or while it is read the events that came meanwhile.
 *
 * @typedef {object} Entry
 * @property {Transcript | null} transcript
 * @property {LogEvent[]} held
 * @property {Promise<void>} reading
 */

/** Those that are kept up to date beside the one that is shown. */
const KEPT = 6;

export class Transcripts {
    /**
     * By session.
     *
     * @type {Map<string, Entry>}
     */
    #entries = new Map();
    #calls;
    #changed;

    /**
     * @param {Calls} calls
     * @param {(transcript: Transcript) => void} changed
     */
    constructor(calls, changed) {
        this.#calls = calls;
        this.#changed = changed;
    }

    /** @param {string | null} sessionId */
    get(sessionId) {
        return (sessionId !== null && this.#entries.get(sessionId)?.transcript) || null;
    }

    clear() {
        this.#entries.clear();
    }

    /**
     * Read one, unless it is here or on its way; `learn` is given the snapshot that it was made of.
     *
     * @param {string} sessionId
     * @param {(snapshot: Snapshot) => void} learn
     */
    read(sessionId, learn) {
        const known = this.#entries.get(sessionId);
        if (known) return known.reading;
        /** @type {Entry} */
        const entry = { transcript: null, held: [], reading: Promise.resolve() };
        this.#entries.set(sessionId, entry);
        entry.reading = this.#fill(sessionId, entry, learn);
        return entry.reading;
    }

    /**
     * @param {string} sessionId
     * @param {Entry} entry
     * @param {(snapshot: Snapshot) => void} learn
     */
    async #fill(sessionId, entry, learn) {
        const isDropped = () => this.#entries.get(sessionId) !== entry;
        try {
            const snapshot = await this.#calls.snapshot(sessionId);
            if (isDropped()) return;
            const transcript = Transcript.fromSnapshot(snapshot);
            for (const event of entry.held.splice(0)) transcript.apply(event);
            entry.transcript = transcript;
            learn(snapshot);
            this.#changed(transcript);
        } catch (problem) {
            if (isDropped()) return;
            this.#entries.delete(sessionId);
            throw problem;
        }
    }

    /** @param {string} sessionId */
    async readEarlier(sessionId) {
        const transcript = this.get(sessionId);
        if (!transcript?.earlier) return;
        const place = transcript.earlier;
        const page = await this.#calls.messagesBefore(sessionId, place);
        // Somebody else may have read it meanwhile.
        if (transcript.earlier !== place) return;
        transcript.addEarlier(page.messages, page.next);
        this.#changed(transcript);
    }

    /** @param {LogEvent} event */
    apply(event) {
        for (const [id, entry] of this.#entries) {
            if (event.sessionId && event.sessionId !== id) continue;
            if (entry.transcript) {
                entry.transcript.apply(event);
                this.#changed(entry.transcript);
            } else {
                entry.held.push(event);
            }
        }
    }

    /**
     * Keep this one, and the others that were shown last.
     *
     * @param {string} sessionId
     */
    keep(sessionId) {
        const shown = this.#entries.get(sessionId);
        this.#entries.delete(sessionId);
        if (shown) this.#entries.set(sessionId, shown);
        for (const id of [...this.#entries.keys()].slice(0, -KEPT)) this.#entries.delete(id);
    }
}
