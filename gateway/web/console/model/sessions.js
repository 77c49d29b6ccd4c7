/** The sessions of a project: what was read of them, and what events have changed since. */

import { isPassing } from "../api.js";
import { seqOf } from "./event.js";
import { updateOf } from "./updates.js";

/** @import { EventOf, KnownSession, LogEvent, Session, Settings } from "../types.js" */
/** @import { Calls } from "./calls.js" */

/** What an agent says moves its session up no more often than this, as in the gateway. */
const SPEAKS_MS = 1000;

export class Sessions {
    areRead = false;
    showsEnded = false;
    /**
     * The place of the page that follows; null where there is none.
     *
     * @type {string | null}
     */
    more = null;
    /** @type {Map<string, KnownSession>} */
    #byId = new Map();
    /**
     * Sessions that are being read since an event told of them, with the events that came meanwhile.
     *
     * @type {Map<string, LogEvent[]>}
     */
    #met = new Map();
    #calls;
    #changed;

    /**
     * @param {Calls} calls
     * @param {() => void} changed
     */
    constructor(calls, changed) {
        this.#calls = calls;
        this.#changed = changed;
    }

    /** @param {string | null} id */
    get(id) {
        return id === null ? undefined : this.#byId.get(id);
    }

    /**
     * As they are shown, the last active first; the one that is open is among them, ended or not.
     *
     * @param {string | null} openId
     */
    listed(openId) {
        const shown = [...this.#byId.values()].filter(
            ({ status, id }) => this.showsEnded || status !== "ended" || id === openId,
        );
        return shown.sort((a, b) => (a.updatedAt < b.updatedAt ? 1 : -1));
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

    /** @param {boolean} yes */
    async showEnded(yes) {
        this.showsEnded = yes;
        this.more = null;
        await this.readMore();
    }

    /** @param {Parameters<Calls["createSession"]>[0]} body */
    async create(body) {
        const session = await this.#calls.createSession(body);
        this.learn(session);
        this.#changed();
        return session;
    }

    /**
     * @param {string} id
     * @param {string} title
     */
    async rename(id, title) {
        this.learn(await this.#calls.rename(id, title));
        this.#changed();
    }

    /** @param {Session} session */
    learn(session) {
        const known = this.#byId.get(session.id);
        const read = { ...session, cursor: seqOf(session.cursor) };
        // An answer may come after events that it does not know yet.
        const isOlder = known && known.cursor > read.cursor;
        this.#byId.set(session.id, isOlder ? { ...read, ...known } : { ...known, ...read });
    }

    /**
     * A container that asks nobody goes on so, whatever its project says.
     *
     * @param {Settings} settings
     */
    projectChanged({ permissionMode }) {
        if (permissionMode === undefined) return;
        for (const session of this.#byId.values())
            if (session.permissions && session.permissions !== "container") session.permissions = permissionMode;
        this.#changed();
    }

    /** @param {string} id */
    markSeen(id) {
        const session = this.#byId.get(id);
        if (session) session.isUnseen = false;
        this.#changed();
    }

    /**
     * Take an event of a session's.
     *
     * @param {LogEvent} event
     * @param {string} sessionId
     * @param {string | null} openId
     */
    apply(event, sessionId, openId) {
        const session = this.#byId.get(sessionId);
        if (!session) {
            if (event.type === "session_created") this.#created(event, sessionId);
            else this.#meet(event, sessionId, openId);
            return;
        }
        if (event.seq <= session.cursor) return;
        session.cursor = event.seq;
        const change = changeBy(event, session);
        if (!change && event.type === "session_update" && isSoonAfter(event.at, session.updatedAt)) return;
        const updatedAt = event.at > session.updatedAt ? event.at : session.updatedAt;
        Object.assign(session, change, { updatedAt });
        if (event.type === "turn_ended" && sessionId !== openId) session.isUnseen = true;
        this.#changed();
    }

    /**
     * It was further down than was read, and something happens in it: it is read once, and listed.
     *
     * @param {LogEvent} event
     * @param {string} sessionId
     * @param {string | null} openId
     */
    async #meet(event, sessionId, openId) {
        const known = this.#met.get(sessionId);
        if (known) {
            known.push(event);
            return;
        }
        const held = [event];
        this.#met.set(sessionId, held);
        try {
            this.learn(await this.#calls.session(sessionId));
            for (const one of held) this.apply(one, sessionId, openId);
            this.#changed();
        } catch (problem) {
            // One that is gone is not asked for with each event.
            if (!isPassing(problem)) {
                held.splice(0);
                return;
            }
        }
        this.#met.delete(sessionId);
    }

    /**
     * @param {EventOf<"session_created">} event
     * @param {string} id
     */
    #created({ seq, at, data }, id) {
        this.#byId.set(id, {
            id,
            ...data,
            titledBy: data.title === null ? null : "user",
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

/**
 * @param {string} at
 * @param {string} before
 */
function isSoonAfter(at, before) {
    return Date.parse(at) - Date.parse(before) < SPEAKS_MS;
}

/**
 * The title that an agent gives its session, or takes back, as the gateway stores it.
 *
 * @param {unknown} data
 * @returns {Partial<KnownSession> | null}
 */
function agentsTitle(data) {
    const update = updateOf(data);
    if (update?.sessionUpdate !== "session_info_update") return null;
    const given = update.title;
    if (given === null) return { title: null, titledBy: null };
    if (typeof given !== "string") return null;
    const title = given.slice(0, 500).split(/\s+/).filter(Boolean).join(" ") || null;
    return { title, titledBy: title === null ? null : "agent" };
}

/**
 * What an event changes of its session; null where that is nothing that is shown.
 *
 * @param {LogEvent} event
 * @param {KnownSession} session
 * @returns {Partial<KnownSession> | null}
 */
function changeBy(event, { titledBy, status, turn, queue }) {
    const { turnId, at } = event;
    const waiting = queue.filter((id) => id !== turnId);
    switch (event.type) {
        case "session_renamed":
            return { title: event.data.title, titledBy: event.data.title === null ? null : "user" };
        case "session_update":
            return titledBy === "user" ? null : agentsTitle(event.data);
        case "turn_started":
            return {
                status: "running",
                turn: turnId === null ? null : { id: turnId, startedAt: at },
                queue: waiting,
                isCancelling: false,
            };
        case "turn_queued":
            return turnId === null ? null : { queue: [...queue, turnId] };
        case "turn_cancelling":
            return { isCancelling: turn?.id === turnId };
        case "turn_ended":
            if (turn && turn.id !== turnId) return { queue: waiting };
            return { status: status === "ended" ? status : "idle", turn: null, isCancelling: false, queue: waiting };
        case "session_mode": {
            const { mode, agentDecides } = event.data;
            // Where the agent does not decide, the project's mode does, which the event does not tell.
            return { agentMode: mode, permissions: agentDecides ? "agent" : undefined };
        }
        case "session_ended":
            return { status: "ended", turn: null, queue: [], endedAt: at };
        default:
            return null;
    }
}
