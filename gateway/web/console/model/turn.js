/** A turn: what was said in it, how it ended, and when somebody waited for somebody. */

/** @import { Ending, Item, ToldTurn, ToolCall } from "../types.js" */
/** @import { OpenSpan, TurnRecord } from "./timeline.js" */

/** @type {Set<unknown>} */
const ENDED = new Set(["completed", "failed"]);

export class Turn {
    static #count = 0;
    key = `turn ${(Turn.#count += 1)}`;
    /** @type {Item[]} */
    items = [];
    /** @type {string | null} */
    startedAt = null;
    /** @type {string | null} */
    endedAt = null;
    /**
     * null: it runs, or how it ended has not been asked yet.
     *
     * @type {string | null}
     */
    outcome = null;
    /** @type {string | null} */
    stopReason = null;
    /** @type {string | null} */
    failure = null;
    /** @type {string | null} */
    message = null;
    /**
     * Its end as the log has it.
     *
     * @type {{ seq: number, at: string, data: unknown } | null}
     */
    ending = null;
    /** Whether all of it came as events, so that it is known who waited when. */
    isWhole = false;
    isRunning = false;
    /**
     * Times at which the agent said something.
     *
     * @type {number[]}
     */
    #heard = [];
    /**
     * By the key of the call's entry: agents use its id again.
     *
     * @type {Map<number, TurnRecord["tools"][number]>}
     */
    #tools = new Map();
    /** @type {Map<string, OpenSpan>} */
    #permissions = new Map();

    /**
     * @param {string | null} id
     * @param {string | null} at
     */
    constructor(id, at) {
        this.id = id;
        this.at = at;
    }

    /** @param {string | null} at */
    begin(at) {
        this.startedAt = at;
        this.isRunning = true;
    }

    /**
     * `seq`: of the event that tells it, where that was read.
     *
     * @param {string} at
     * @param {Omit<Ending, "outcome"> & { outcome: string }} how
     * @param {number | null} seq
     */
    end(at, how, seq = null) {
        const { outcome, stopReason = null, failure = null, message = null } = how;
        this.endedAt = at;
        this.isRunning = false;
        if (seq !== null) this.ending = { seq, at, data: how };
        Object.assign(this, { outcome, stopReason, failure, message });
    }

    /**
     * How it ended, as the API tells of a turn.
     *
     * @param {ToldTurn} told
     */
    learn({ state, startedAt, endedAt, stopReason, failure, message }) {
        if (this.outcome || !endedAt) return;
        this.startedAt = startedAt;
        this.end(endedAt, { outcome: state, stopReason, failure, message });
    }

    /**
     * Take over when somebody waited for whom, from the same turn as its events tell it: its beginning and its end, too,
     * which the API tells by another clock.
     *
     * @param {Turn} turn
     */
    recall(turn) {
        this.#heard = turn.#heard;
        this.#tools = turn.#tools;
        this.#permissions = turn.#permissions;
        this.startedAt = turn.startedAt ?? this.startedAt;
        this.endedAt = turn.endedAt ?? this.endedAt;
        this.isWhole = true;
    }

    /** @param {string} at */
    heard(at) {
        this.#heard.push(Date.parse(at));
    }

    /**
     * @param {number} key
     * @param {ToolCall} call
     * @param {string} at
     */
    called(key, { title, kind, status }, at) {
        const known = this.#tools.get(key);
        const to = ENDED.has(status) ? (known?.to ?? Date.parse(at)) : null;
        // Of a call that began further up than was read, the end may be told before the beginning.
        const from = Math.min(known?.from ?? Infinity, Date.parse(at));
        this.#tools.set(key, { from, to, title, kind });
    }

    /**
     * What stood in for a call has given way to it.
     *
     * @param {number} key
     */
    uncalled(key) {
        this.#tools.delete(key);
    }

    /**
     * @param {string} id
     * @param {string} at
     */
    asked(id, at) {
        this.#permissions.set(id, { from: Date.parse(at), to: null });
    }

    /**
     * @param {string} id
     * @param {string} at
     */
    answered(id, at) {
        const known = this.#permissions.get(id);
        if (known) known.to = Date.parse(at);
    }

    /**
     * What it is measured by, for a picture of it.
     *
     * @returns {TurnRecord}
     */
    get record() {
        return {
            from: this.startedAt ? Date.parse(this.startedAt) : null,
            to: this.endedAt ? Date.parse(this.endedAt) : null,
            heard: this.#heard,
            tools: [...this.#tools.values()],
            permissions: [...this.#permissions.values()],
        };
    }
}
