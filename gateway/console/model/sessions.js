/** The sessions of a project: what was read of them, and what events have changed since. */

import { isPassing } from "../api.js";
import { seqOf } from "./event.js";

export class Sessions {
    areRead = false;
    showsEnded = false;
    /** The place of the page that follows; null where there is none. */
    more = null;
    #byId = new Map();
    /** Sessions that are being read since an event told of them, with the events that came meanwhile. */
    #met = new Map();
    #calls;
    #changed;

    constructor(calls, changed) {
        this.#calls = calls;
        this.#changed = changed;
    }

    get(id) {
        return this.#byId.get(id);
    }

    /** As they are shown, newest first; the one that is open is among them, ended or not. */
    listed(openId) {
        const shown = [...this.#byId.values()].filter(
            ({ status, id }) => this.showsEnded || status !== "ended" || id === openId,
        );
        return shown.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
    }

    /** The first page, and nothing else. */
    async read() {
        this.#byId.clear();
        this.#met.clear();
        this.more = null;
        return this.readMore();
    }

    async readMore() {
        const { sessions, next } = await this.#calls.sessions({ after: this.more, withEnded: this.showsEnded });
        for (const session of sessions) this.learn(session);
        this.more = next;
        this.areRead = true;
        this.#changed();
        return sessions;
    }

    async showEnded(yes) {
        this.showsEnded = yes;
        this.more = null;
        await this.readMore();
    }

    async create(body) {
        const session = await this.#calls.createSession(body);
        this.learn(session);
        this.#changed();
        return session;
    }

    async rename(id, title) {
        this.learn(await this.#calls.rename(id, title));
        this.#changed();
    }

    learn(session) {
        const known = this.#byId.get(session.id);
        const read = { ...session, cursor: seqOf(session.cursor) };
        // An answer may come after events that it does not know yet.
        const isOlder = known && known.cursor > read.cursor;
        this.#byId.set(session.id, isOlder ? { ...read, ...known, title: read.title } : { ...known, ...read });
    }

    markSeen(id) {
        const session = this.#byId.get(id);
        if (session) session.isUnseen = false;
        this.#changed();
    }

    apply(event, openId) {
        const session = this.#byId.get(event.sessionId);
        if (!session) {
            if (event.type === "session_created") this.#created(event);
            else this.#meet(event, openId);
            return;
        }
        if (event.seq <= session.cursor) return;
        session.cursor = event.seq;
        const change = CHANGES[event.type];
        if (!change) return;
        Object.assign(session, change(session, event), { updatedAt: event.at });
        if (event.type === "turn_ended" && event.sessionId !== openId) session.isUnseen = true;
        this.#changed();
    }

    /** It was further down than was read, and something happens in it: it is read once, and listed. */
    async #meet(event, openId) {
        const { sessionId } = event;
        if (this.#met.has(sessionId)) return this.#met.get(sessionId).push(event);
        const held = [event];
        this.#met.set(sessionId, held);
        try {
            this.learn(await this.#calls.session(sessionId));
            for (const one of held) this.apply(one, openId);
            this.#changed();
        } catch (problem) {
            // One that is gone is not asked for with each event.
            if (!isPassing(problem)) return held.splice(0);
        }
        this.#met.delete(sessionId);
    }

    #created({ sessionId: id, seq, at, data }) {
        this.#byId.set(id, {
            id,
            ...data,
            status: "idle",
            turn: null,
            queue: [],
            cursor: seq,
            createdAt: at,
            updatedAt: at,
        });
        this.#changed();
    }
}

/** What an event changes of its session. */
const CHANGES = {
    turn_started: ({ queue }, { turnId, at }) => ({
        status: "running",
        turn: { id: turnId, startedAt: at },
        queue: queue.filter((id) => id !== turnId),
        isCancelling: false,
    }),
    turn_queued: ({ queue }, { turnId }) => ({ queue: [...queue, turnId] }),
    turn_cancelling: ({ turn }, { turnId }) => ({ isCancelling: turn?.id === turnId }),
    turn_ended: ({ status, turn, queue }, { turnId }) =>
        turn?.id === turnId || !turn
            ? {
                  status: status === "ended" ? status : "idle",
                  turn: null,
                  isCancelling: false,
                  queue: queue.filter((id) => id !== turnId),
              }
            : { queue: queue.filter((id) => id !== turnId) },
    session_ended: (_, { at }) => ({ status: "ended", turn: null, queue: [], endedAt: at }),
};
