/** The transcripts that were looked at: read once, then kept up to date by events. */

import { Transcript } from "./transcript.js";

/** Those that are kept up to date beside the one that is shown. */
const KEPT = 6;

export class Transcripts {
    /** By session: the transcript, or while it is read the events that came meanwhile; and the reading's promise. */
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

    clear() {
        this.#entries.clear();
    }

    /** Read one, unless it is here or on its way; `learn` is given the snapshot that it was made of. */
    read(sessionId, learn) {
        const known = this.#entries.get(sessionId);
        if (known) return known.reading;
        const entry = { transcript: null, held: [], reading: null };
        this.#entries.set(sessionId, entry);
        return (entry.reading = this.#fill(sessionId, entry, learn));
    }

    async #fill(sessionId, entry, learn) {
        const isDropped = () => this.#entries.get(sessionId) !== entry;
        try {
            const snapshot = await this.#calls.snapshot(sessionId);
            if (isDropped()) return;
            const transcript = Transcript.fromSnapshot(snapshot);
            for (const event of entry.held) transcript.apply(event);
            Object.assign(entry, { transcript, held: null });
            learn(snapshot);
            this.#changed(transcript);
        } catch (problem) {
            if (isDropped()) return;
            this.#entries.delete(sessionId);
            throw problem;
        }
    }

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
