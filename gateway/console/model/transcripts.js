/** The transcripts that were looked at: read once, then kept up to date by events. */

import { Transcript } from "./transcript.js";

/** Those that are kept up to date beside the one that is shown. */
const KEPT = 6;

export class Transcripts {
    /** By session: the transcript, or while it is read the events that came meanwhile. */
    #entries = new Map();
    #calls;
    #changed;

    /** `changed(transcript)` */
    constructor(calls, changed) {
        this.#calls = calls;
        this.#changed = changed;
    }

    get(sessionId) {
        return this.#entries.get(sessionId)?.transcript;
    }

    has(sessionId) {
        return this.#entries.has(sessionId);
    }

    clear() {
        this.#entries.clear();
    }

    /** Read one; the snapshot that it was made of. */
    async read(sessionId) {
        const entry = { transcript: null, held: [] };
        this.#entries.set(sessionId, entry);
        try {
            const snapshot = await this.#calls.snapshot(sessionId);
            const transcript = Transcript.fromSnapshot(snapshot);
            for (const event of entry.held) transcript.apply(event);
            Object.assign(entry, { transcript, held: null });
            return snapshot;
        } catch (problem) {
            this.#entries.delete(sessionId);
            throw problem;
        }
    }

    async readEarlier(sessionId) {
        const transcript = this.get(sessionId);
        if (!transcript?.earlier) return;
        const page = await this.#calls.messagesBefore(sessionId, transcript.earlier);
        transcript.addEarlier(page.messages, page.next);
        this.#changed(transcript);
    }

    apply(event) {
        for (const [id, entry] of this.#entries) {
            // What has no session is about the whole project: a gap is everybody's.
            if (event.sessionId && event.sessionId !== id) continue;
            if (!event.sessionId && event.type !== "gap") continue;
            if (entry.held) entry.held.push(event);
            else {
                entry.transcript.apply(event);
                this.#changed(entry.transcript);
            }
        }
    }

    /** Keep this one, and the others that were shown last. */
    keep(sessionId) {
        const shown = this.#entries.get(sessionId);
        this.#entries.delete(sessionId);
        if (shown) this.#entries.set(sessionId, shown);
        for (const id of [...this.#entries.keys()].slice(0, -KEPT)) this.#entries.delete(id);
    }
}
